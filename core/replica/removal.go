package replica

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/core/wal"
)

// kickRemoval has the directories removed that wait for it. What a crash or a stop
// leaves is removed after the next start.
func (m *Manager) kickRemoval() {
	select {
	case m.removal <- struct{}{}:
	default: // it is going to look anyway
	}
}

// runRemoval removes what was deleted, beside everything else: a partition has many
// files, and nobody waits for them.
func (m *Manager) runRemoval(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.removal:
		}
		if err := wal.RemoveDeleted(ctx, m.cfg.fs(), m.cfg.DataDir); err != nil {
			return fmt.Errorf("remove deleted partitions: %w", err)
		}
	}
}
