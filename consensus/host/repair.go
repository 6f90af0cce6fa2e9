package host

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// failures are the groups that a backend gave up on and nobody has looked at yet.
type failures struct {
	wake chan struct{} // cap 1

	mu     sync.Mutex
	groups map[consensus.GroupID]error
}

func newFailures() *failures {
	return &failures{wake: make(chan struct{}, 1), groups: make(map[consensus.GroupID]error)}
}

func (f *failures) add(g consensus.GroupID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[g] = err
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns what there is, by group, and forgets it.
func (f *failures) take() map[consensus.GroupID]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.groups
	f.groups = make(map[consensus.GroupID]error)
	return taken
}

// repair closes and opens the groups that a process gave up on: each once in the
// process's life.
type repair struct {
	rpc      consensuspb.ConsensusClient
	specs    []consensus.GroupSpec
	failures *failures
	log      *slog.Logger
	repaired map[consensus.GroupID]bool
}

func newRepair(conn grpc.ClientConnInterface, specs []consensus.GroupSpec, f *failures, log *slog.Logger) *repair {
	return &repair{
		rpc: consensuspb.NewConsensusClient(conn), specs: specs, failures: f, log: log,
		repaired: make(map[consensus.GroupID]bool),
	}
}

// run returns why the process is of no use any more, or "" when ctx ends.
func (r *repair) run(ctx context.Context) string {
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-r.failures.wake:
		}
		failed := r.failures.take()
		for _, id := range slices.Sorted(maps.Keys(failed)) {
			if err := r.repair(ctx, id, failed[id]); err != nil && ctx.Err() == nil {
				return err.Error()
			}
		}
	}
}

func (r *repair) repair(ctx context.Context, id consensus.GroupID, cause error) error {
	i := slices.IndexFunc(r.specs, func(s consensus.GroupSpec) bool { return s.ID == id })
	if i < 0 {
		return nil // not one of ours
	}
	if r.repaired[id] {
		return fmt.Errorf("it gave up on group %d again: %w", id, cause)
	}
	r.repaired[id] = true
	r.log.Warn("the backend gave up on a group: closing and opening it", "group", id, "error", cause)
	if _, err := r.rpc.CloseGroup(ctx, &consensuspb.CloseGroupRequest{GroupId: uint64(id)}); err != nil {
		r.log.Warn("the failed group did not close cleanly", "group", id, "error", wire.FromStatus(err))
	}
	spec := r.specs[i]
	spec.Mode = consensus.OpenRecover
	if _, err := r.rpc.OpenGroup(ctx, wire.GroupSpecToProto(spec)); err != nil {
		return fmt.Errorf("group %d failed (%w) and could not be opened again: %w", id, cause, wire.FromStatus(err))
	}
	return nil
}
