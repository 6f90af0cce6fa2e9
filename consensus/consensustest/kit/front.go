package kit

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// Front brings replicas of the backend under test to life. The kit sees a
// backend through nothing else: [InProcess] and [Binary] are the two that exist.
type Front interface {
	// Name says where the replicas live: "in process" or "binary".
	Name() string
	// Describe asks the backend what it is, without starting it.
	Describe(ctx context.Context) (consensus.Description, error)
	// Validate asks the backend what it thinks of options, without starting it.
	Validate(ctx context.Context, options json.RawMessage) ([]consensus.Diagnostic, error)
	// Launch starts a replica and opens its groups.
	Launch(ctx context.Context, l Launch) (Replica, error)
}

// Launch says how one replica is started.
type Launch struct {
	Start  consensus.StartConfig
	Groups []consensus.GroupSpec
	RunDir string // for its socket
	// Env is added to the environment of a process.
	Env map[string]string
	// Strange puts fields into every message that no version of the contract has.
	Strange bool
}

// Replica is one started backend.
type Replica interface {
	consensus.Client
	// Enqueue proposes without waiting; see host.
	Enqueue(p consensus.Proposal) <-chan consensus.Result
	// RPC is the wire, for what no host says.
	RPC() (consensuspb.ConsensusClient, error)
	// Kill ends it as abruptly as the front can.
	Kill()
	// Stop ends it in order, and reports a backend that does not end well.
	Stop() error
}

// Process is a Replica that lives in a process of its own.
type Process interface {
	Replica
	PID() int
	Signal(sig os.Signal) error
	// HangUp is what the plugin sees when its host dies.
	HangUp()
	Exited() <-chan struct{}
	// ExitCode is valid once Exited is closed.
	ExitCode() int
	// Reconnect breaks the streams and opens them again; see host.Bare.
	Reconnect(ctx context.Context) ([]*consensuspb.SequencePosition, error)
	// Ask asks for the age of the loop and of a sync in progress.
	Ask(ctx context.Context) (loop, sync time.Duration, err error)
}

// spoiler is a front whose backends may look into their environment, and so at
// the faults that are put there; see package faults.
type spoiler interface{ passesEnvironment() bool }

// commander is a front whose backend can also be started by hand.
type commander interface {
	// command is the bare command of the plugin, with nothing but env around it.
	command(ctx context.Context, env ...string) (*exec.Cmd, error)
}
