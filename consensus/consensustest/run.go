package consensustest

import (
	"encoding/json"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest/kit"
)

// Config says what Run is to judge.
type Config struct {
	// New returns a backend that has not been started. Required.
	New func() consensus.Backend
	// Name is how the backend is called in the report; what it says of itself if empty.
	Name string
	// Nodes is the largest cluster to form, 1 or 3; as many as the backend's
	// Limits.MaxMembers allow if 0.
	Nodes int
	// Options are passed to Start.
	Options json.RawMessage
	// Timing is passed to Start; 20 ms and 200 ms if zero. Nothing is judged by the clock.
	Timing consensus.Timing
	// PeerTLS is the identity of every node, if not nil. Its certificate must be for 127.0.0.1.
	PeerTLS *consensus.PeerTLS
	// Kill ends a backend as abruptly as it can be done in one process, and
	// releases its port. Stop, with a context that has ended, if nil.
	Kill func(consensus.Backend)
	// Only, if not empty, runs only the cases that have it in their name.
	Only string
	// Level is how far the kit goes, 1 to 4; see package kit. 2 if 0.
	Level int
	// Full asks for the long form of every case. The short one is for unit tests.
	Full bool
	// Seed decides what is random.
	Seed uint64
}

// Run judges the backend that cfg.New makes, in this process, over real sockets
// on 127.0.0.1 and real directories. Every case is a subtest.
func Run(t *testing.T, cfg Config) {
	front := kit.InProcess{New: cfg.New, KillBackend: cfg.Kill}
	d := cfg.New().Describe()
	o := kit.Options{
		Level: cfg.Level, Quick: !cfg.Full, Seed: cfg.Seed, Only: cfg.Only, Nodes: cfg.Nodes, Backend: cfg.Options,
		Timing: cfg.Timing, PeerTLS: cfg.PeerTLS, Dir: t.TempDir(),
	}
	if o.Level == 0 {
		o.Level = 2
	}
	report := kit.NewReport(front, o, d)
	if cfg.Name != "" {
		report.Backend = cfg.Name
	}
	for _, c := range kit.Selected(o) {
		t.Run(c.String(), func(t *testing.T) {
			r := kit.RunCase(t.Context(), front, o, c, d)
			report.Add(r)
			if r.Skipped != "" {
				t.Skip(r.Skipped)
			}
			for _, f := range r.Findings {
				t.Errorf("%s: %s", f.Rule, f.What)
			}
		})
	}
	t.Logf("%s\n%s", report.Backend, report.Text())
}
