package hashicorpraft

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// When an answer is no success the library stops reading answers, while it may be
// in the middle of sending, with a full pipeline. It must not stay there.
func TestPipelineEndsWhileTheSenderWaitsForRoom(t *testing.T) {
	t.Parallel()
	from, to := listenFor(t, "c"), listenFor(t, "c")
	sender, receiver := transportOver(t, from), transportOver(t, to)
	p, err := sender.AppendEntriesPipeline("2", raft.ServerAddress(to.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	full, refuse := make(chan struct{}), make(chan struct{})
	go func() { // the peer
		for n := 0; ; n++ {
			select {
			case rpc := <-receiver.Consumer():
				if n == 0 {
					<-refuse
				}
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: n > 0}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { // the library's sender
		for sent := 0; ; sent++ {
			if sent == raft.DefaultMaxRPCsInFlight-2 {
				close(full)
			}
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, new(raft.AppendEntriesResponse)); err != nil {
				ended <- err
				return
			}
		}
	}()
	<-full
	close(refuse)
	if answer := <-p.Consumer(); answer.Response().Success { // the library's reader, which goes now
		t.Fatal("the first answer should be the refusal")
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the sender waits for ever")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What a peer accepted through a pipeline is known, and answers come in order.
func TestPipelineTellsWhatMatches(t *testing.T) {
	t.Parallel()
	from, to := listenFor(t, "c"), listenFor(t, "c")
	sender, receiver := transportOver(t, from), transportOver(t, to)
	go func() {
		for {
			select {
			case rpc := <-receiver.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
			case <-t.Context().Done():
				return
			}
		}
	}()
	first := &raft.AppendEntriesRequest{Term: 3, Entries: []*raft.Log{{Index: 1, Term: 3}}}
	if err := sender.AppendEntries("2", raft.ServerAddress(to.Addr().String()), first, new(raft.AppendEntriesResponse)); err != nil {
		t.Fatal(err)
	}
	p, err := sender.AppendEntriesPipeline("2", raft.ServerAddress(to.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(2); index <= 20; index++ {
		req := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: index - 1, PrevLogTerm: 3, Entries: []*raft.Log{{Index: index, Term: 3}}}
		if _, err := p.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
			t.Fatal(err)
		}
		if got := (<-p.Consumer()).Request(); got != req {
			t.Fatalf("answer to %+v, want %+v", got, req)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	server := raft.Server{ID: "2", Suffrage: raft.Voter}
	if got := sender.peers.status([]raft.Server{server}, "1", 3)[0]; got.Match != 20 || got.State != stateProbe {
		t.Errorf("after a pipeline up to 20: %+v", got)
	}
}

func transportOver(t *testing.T, l *layer) *transport {
	t.Helper()
	network := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: l, MaxPool: 3, Timeout: patience, Logger: logger{to: slog.New(slog.DiscardHandler)}, MsgpackUseNewTimeFormat: true,
	})
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return &transport{NetworkTransport: network, layer: l, peers: newPeers(slog.New(slog.DiscardHandler))}
}
