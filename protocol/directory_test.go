package protocol_test

import (
	"math"
	"testing"

	"github.com/quorate/quorate/protocol"
)

func TestDirectoryID(t *testing.T) {
	for _, replica := range []uint64{1, 4, math.MaxInt32 + 1, math.MaxUint64} {
		if got, ok := protocol.ReplicaOfDirectory(protocol.DirectoryID(replica)); !ok || got != replica {
			t.Errorf("replica %d: got %d, %t", replica, got, ok)
		}
	}
	for _, foreign := range [][16]byte{{}, {15: 1}, {0: 0x7f, 15: 4}, protocol.DirectoryID(0)} {
		if got, ok := protocol.ReplicaOfDirectory(foreign); ok {
			t.Errorf("%x: got replica %d, want none", foreign, got)
		}
	}
}
