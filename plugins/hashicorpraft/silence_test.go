package hashicorpraft

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A peer that is down is spoken of once, and once when it is back, however many
// requests go unanswered.
func TestSilenceIsSaidOnce(t *testing.T) {
	var log bytes.Buffer
	to := slog.New(slog.NewTextHandler(&log, nil))
	p, library := newPeers(to), logger{to: to}
	for range 100 {
		library.Error("failed to heartbeat to", "peer", "127.0.0.1:1")
		library.Error("failed to appendEntries to", "peer", "127.0.0.1:1")
		p.appended("2@3", 0, &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{}, errors.New("refused"))
	}
	for range 2 {
		answer(p, "2@3", 0, 1)
	}
	got := log.String()
	for _, want := range []string{"level=WARN msg=\"a peer does not answer\" error=refused replica=2\n", "level=INFO msg=\"a peer answers again\"", "unanswered=100 replica=2\n"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("the log has %q %d times, want once:\n%s", want, strings.Count(got, want), got)
		}
	}
	if lines := strings.Count(got, "\n"); lines != 2 {
		t.Errorf("%d lines, want 2:\n%s", lines, got)
	}
}

func TestSilenceComesAndGoes(t *testing.T) {
	lost := errors.New("lost")
	now := time.Now()
	steps := []struct {
		name  string
		after time.Duration
		err   error
		want  string
	}{
		{"it answers", 0, nil, ""},
		{"it does not", 0, lost, "a peer does not answer"},
		{"still not", time.Hour, lost, ""},
		{"it is back", 0, nil, "a peer answers again"},
		{"gone again, an hour later", time.Hour, lost, "a peer does not answer"},
		{"back", time.Second, nil, "a peer answers again"},
		{"gone again at once", time.Second, lost, ""},
		{"back, and nothing was said of it", time.Second, nil, ""},
		{"gone", time.Second, lost, ""},
		{"and it stays away", sayAgain, lost, "a peer does not answer"},
		{"back at last", time.Second, nil, "a peer answers again"},
	}
	var s silence
	for _, step := range steps {
		now = now.Add(step.after)
		if got := s.note(step.err, now).message; got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// Other errors of the library stay what they are.
func TestLibraryErrorsAreLogged(t *testing.T) {
	var log bytes.Buffer
	logger{to: slog.New(slog.NewTextHandler(&log, nil))}.Log(hclog.Error, "failed to persist vote", "error", "no")
	if got := log.String(); !strings.Contains(got, "level=ERROR msg=\"failed to persist vote\"") {
		t.Errorf("logged %q", got)
	}
}
