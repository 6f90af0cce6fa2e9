package kit

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
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
	// Environment gives a backend what a process would find in its environment,
	// before it is started. nil: it does not look there.
	Environment func(b consensus.Backend, env map[string]string)
	// Dial is added to how the backend's server is reached.
	Dial []grpc.DialOption
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
	RPC() (consensuspb.ConsensusClient, error)
}

func (f InProcess) passesEnvironment() bool { return f.Environment != nil }

// Launch implements Front.
func (f InProcess) Launch(ctx context.Context, l Launch) (Replica, error) {
	b := f.New()
	if f.Environment != nil {
		f.Environment(b, l.Env)
	}
	c, stop, err := host.InProcess(ctx, b, l.Start, l.Groups, append(l.dial(), f.Dial...)...)
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
