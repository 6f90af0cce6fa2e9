package host

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk"
)

// TestMain is also the main of the processes that the tests start: the plugin,
// and a host to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "plugin" && os.Args[2] == "serve" {
		sdk.Serve(&fileBackend{}, sdk.WithLockWait(50*time.Millisecond))
	}
	if len(os.Args) > 2 && os.Args[1] == "host" {
		runHost(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

// runHost runs a host on dir until it is killed, and tells the plugin's pid.
func runHost(dir string) {
	h, err := Launch(context.Background(), specIn(dir), discard())
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, h.Health().PID)
	if err := h.Run(context.Background()); err != nil {
		os.Exit(1)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// impatient is a supervision for tests.
func impatient() Supervision {
	s := DefaultSupervision()
	s.HealthInterval, s.HealthTimeout = 50*time.Millisecond, time.Second
	s.BackoffMin, s.BackoffMax = 10*time.Millisecond, 50*time.Millisecond
	s.DumpGrace, s.LockWait = 100*time.Millisecond, 100*time.Millisecond
	s.HangAfter = 500 * time.Millisecond
	s.CrashLimit = 100
	return s
}

func specIn(dir string) Spec {
	data := dir + "/data"
	if err := os.MkdirAll(data, 0o700); err != nil {
		panic(err)
	}
	return Spec{
		Name: "file", RunDir: dir + "/run", Supervision: impatient(),
		Start:  consensus.StartConfig{ClusterID: "c1", ReplicaID: 7, BrokerID: 7, DataDir: data, Timing: consensus.DefaultTiming()},
		Groups: []consensus.GroupSpec{{ID: consensus.Metadata, Name: "metadata", Mode: consensus.OpenBootstrap}},
	}
}

// launched is a host under test and the end of its Run.
type launched struct {
	*Host
	stop  context.CancelFunc
	ended chan error
}

func launch(t *testing.T, spec Spec) *launched {
	t.Helper()
	h, err := Launch(t.Context(), spec, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("launch: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &launched{Host: h, stop: cancel, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.ended <- h.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l
}

// eventually polls until ok, for at most 15 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// leader waits until this replica leads, in a term above after.
func leader(t *testing.T, c consensus.Client, after uint64) consensus.Leadership {
	t.Helper()
	var l consensus.Leadership
	eventually(t, "leadership", func() bool {
		l, _ = c.LeaderFor(consensus.Metadata)
		return l.Role == consensus.LeaderReady && l.Term > after
	})
	return l
}

func propose(t *testing.T, c consensus.Client, term, sequence uint64, data string) consensus.Result {
	t.Helper()
	return c.Propose(t.Context(), consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: sequence, Data: []byte(data)})
}

func options(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
