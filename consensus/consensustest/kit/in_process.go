package kit

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

// InProcess is the front for backends in Go: every replica is the backend behind
// the SDK's server, in this process, so that the race detector sees it.
type InProcess struct {
	// New returns a backend that has not been started.
	New func() consensus.Backend
	// KillBackend ends a backend as abruptly as it can be done in one process and
	// releases its port. Stop, with a context that has ended, if nil.
	KillBackend func(consensus.Backend)
}

// Name implements Front.
func (f InProcess) Name() string { return "in process" }

// Describe implements Front.
func (f InProcess) Describe(context.Context) (consensus.Description, error) {
	return f.New().Describe(), nil
}

// Validate implements Front.
func (f InProcess) Validate(_ context.Context, options json.RawMessage) ([]consensus.Diagnostic, error) {
	return f.New().Validate(options), nil
}

// enqueuer is what the clients of package host can do besides consensus.Client.
type enqueuer interface {
	consensus.Client
	Enqueue(p consensus.Proposal) <-chan consensus.Result
}

// Launch implements Front.
func (f InProcess) Launch(ctx context.Context, l Launch) (Replica, error) {
	b := f.New()
	c, stop, err := host.InProcess(ctx, b, l.Start, l.Groups)
	if err != nil {
		return nil, err
	}
	e, ok := c.(enqueuer)
	if !ok {
		stop()
		return nil, fmt.Errorf("the client is a %T, which cannot enqueue", c)
	}
	return &inProcess{enqueuer: e, front: f, backend: b, stop: stop}, nil
}

// inProcess is a backend in this process.
type inProcess struct {
	enqueuer
	front   InProcess
	backend consensus.Backend
	stop    func()
}

// Kill implements Replica.
func (p *inProcess) Kill() {
	if p.front.KillBackend != nil {
		p.front.KillBackend(p.backend)
	} else {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.backend.Stop(ctx) // what it says of its abrupt end does not matter
	}
	p.stop()
}

// Stop implements Replica.
func (p *inProcess) Stop() error {
	p.stop()
	return nil
}
