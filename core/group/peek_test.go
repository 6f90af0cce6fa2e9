package group

import (
	"context"
	"testing"

	"github.com/quorate/quorate/core/coordinator"
)

// peek reads the machine's memory.
func peek[R any](t *testing.T, b *broker, f func(*machine) R) R {
	t.Helper()
	got, err := coordinator.Do(context.Background(), b.shards, 0, "", func(m *machine, _ *coordinator.Turn, r coordinator.Reply[R]) {
		r.Send(f(m))
	})
	if err != nil {
		t.Errorf("peek: %v", err)
	}
	return got
}
