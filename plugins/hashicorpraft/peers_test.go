package hashicorpraft

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

func answer(p *peers, id raft.ServerID, round, term uint64, entries ...uint64) {
	req := &raft.AppendEntriesRequest{Term: term}
	for _, i := range entries {
		req.Entries = append(req.Entries, &raft.Log{Index: i})
	}
	p.appended(id, round, req, &raft.AppendEntriesResponse{Term: term, Success: true, LastLog: 10}, nil)
}

// What confirms a read: voters, in answers to what was sent since it began.
func TestConfirmed(t *testing.T) {
	servers := []raft.Server{{ID: "1"}, {ID: "2"}, {ID: "3"}, {ID: "4", Suffrage: raft.Nonvoter}}
	tests := []struct {
		name string
		with func(p *peers)
		want int
	}{
		{"nobody", func(*peers) {}, 0},
		{"a voter", func(p *peers) { answer(p, "2", 5, 1) }, 1},
		{"two voters, one later", func(p *peers) { answer(p, "2", 5, 1); answer(p, "3", 7, 1) }, 2},
		{"a learner", func(p *peers) { answer(p, "4", 5, 1) }, 0},
		{"an answer to what was sent before", func(p *peers) { answer(p, "2", 4, 1) }, 0},
		{"one that refuses", func(p *peers) {
			p.appended("2", 5, &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{Term: 1}, nil)
		}, 0},
		{"one of a later term", func(p *peers) {
			p.appended("2", 5, &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{Term: 2, Success: true}, nil)
		}, 0},
		{"no answer", func(p *peers) {
			p.appended("2", 5, &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{Term: 1, Success: true}, errors.New("lost"))
		}, 0},
	}
	for _, tt := range tests {
		p := newPeers(slog.New(slog.DiscardHandler))
		tt.with(p)
		if got, _ := p.confirmed(servers, 5); got != tt.want {
			t.Errorf("%s: %d confirmed, want %d", tt.name, got, tt.want)
		}
	}
}

func TestPeerStatus(t *testing.T) {
	servers := []raft.Server{{ID: "3"}, {ID: "2"}, {ID: "1"}}
	p := newPeers(slog.New(slog.DiscardHandler))
	answer(p, "2", 0, 4) // a heartbeat: where the logs agree is not known yet
	answer(p, "3", 0, 4, 7, 8)
	answer(p, "3", 0, 4)
	p.setState("3", stateReplicate)
	p.appended("2", 0, &raft.AppendEntriesRequest{Term: 4}, &raft.AppendEntriesResponse{}, errors.New("lost"))
	got := p.status(servers, "1", 4)
	if len(got) != 2 || got[0].ReplicaID != 2 || got[0].Match != 0 || got[0].State != stateUnreachable ||
		got[1].ReplicaID != 3 || got[1].Match != 10 || got[1].Next != 11 || got[1].State != stateReplicate {
		t.Errorf("got %+v", got)
	}
	if later := p.status(servers, "1", 5); later[1].Match != 0 {
		t.Errorf("in a later term: %+v", later)
	}
	if best, ok := p.best(servers, "1"); !ok || best.ID != "3" {
		t.Errorf("the best is %+v", best)
	}
}

func TestReadIndexIsConfirmed(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(4)
	c.more(5)
	c.eventually("a read index", func() bool {
		leader, at := c.leader()
		index, term, err := leader.group.ReadIndex(t.Context())
		return err == nil && term == at.Term && index >= at.ReadyIndex
	})
	stop()
	leader, _ := c.leader()
	for _, n := range c.all() {
		if n != leader {
			n.end()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if index, _, err := leader.group.ReadIndex(ctx); err == nil {
		t.Errorf("without a quorum: %d", index)
	}
}

func TestLatency(t *testing.T) {
	var l latency
	now := time.Unix(1_000_000, 0)
	for i := range 100 {
		l.observe(time.Duration(i+1)*time.Millisecond, now.Add(time.Duration(i)*100*time.Millisecond))
	}
	values, total := l.quantiles(now.Add(11*time.Second), 0.5, 0.99, 1)
	for i, least := range []time.Duration{50 * time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond} {
		if values[i] < least || values[i] > least*3/2 {
			t.Errorf("quantile %d is %v, want %v to half as much again", i, values[i], least)
		}
	}
	if values, total := l.quantiles(now.Add(2*time.Minute), 1); values[0] != 0 || total != 100 {
		t.Errorf("after two minutes: %v of %d", values, total)
	}
	l.observe(time.Hour, now.Add(time.Minute)) // the slots are used again
	if values, _ := l.quantiles(now.Add(time.Minute), 0); total != 100 || values[0] < time.Minute {
		t.Errorf("a minute later: %v of %d", values, total)
	}
}

// A main loop that is stuck shows, and as a sync in progress.
func TestLoopAge(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.start(1, 1)
	stuck, release := make(chan struct{}), make(chan struct{})
	n.backend.openLog = func(dir string, o Options) (wal, error) {
		w, err := openLog(dir, o)
		return &stalling{wal: w, stuck: stuck, release: release}, err
	}
	n.open(consensus.OpenBootstrap, n.member)
	_, at := c.leader()
	n.group.Propose(at.Term, consensus.Envelope{ExpectedTerm: at.Term, Sequence: 1}.Append(nil), func(consensus.Result) {})
	<-stuck
	c.eventually("the loop's age grows", func() bool {
		loop, sync := n.group.LoopAge()
		return loop > 200*time.Millisecond && sync > 200*time.Millisecond
	})
	close(release)
	c.eventually("the loop turns again", func() bool {
		loop, sync := n.group.LoopAge()
		return loop < 100*time.Millisecond && sync == 0
	})
	names := map[string]bool{}
	for _, m := range n.backend.Metrics() {
		names[m.Name] = true
	}
	for _, name := range []string{"term", "commit_index", "log_sync_seconds", "log_syncs_total", "snapshots_saved_total", "loop_age_seconds", "peer_connections_refused_total"} {
		if !names[name] {
			t.Errorf("there is no metric %s in %v", name, names)
		}
	}
}

// stalling is a log whose first write of data waits.
type stalling struct {
	wal
	stuck, release chan struct{}
	stalled        bool
}

func (s *stalling) StoreLogs(logs []*raft.Log) error {
	if !s.stalled && logs[0].Type == raft.LogCommand {
		s.stalled = true
		close(s.stuck)
		<-s.release
	}
	return s.wal.StoreLogs(logs)
}
