package group

import (
	"strings"
	"testing"
)

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := Config{InitialRebalanceDelay: -1, MaxSessionTimeout: -1, MaxOffsetMetadataBytes: 1 << 20}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"minimum session timeout", "maximum session timeout", "initial rebalance delay", "new member join timeout", "maximum group size",
		"maximum group bytes", "maximum number of groups", "offset metadata bytes 1048576", "offsets retention", "coordinator mailbox length",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %q in %v", want, err)
		}
	}
}
