package hashicorpraft

import (
	"testing"

	"github.com/quorate/quorate/consensus/consensustest"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Config{New: New})
}
