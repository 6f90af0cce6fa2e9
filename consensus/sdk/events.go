package sdk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// membershipPoll is how often a group's membership is looked at: it has no
// channel of its own, and changes seldom.
const membershipPoll = time.Second

// WatchEvents implements the service. A goroutine per group looks at its state,
// this one sends; what was not sent when a newer state comes is replaced by it.
func (s *Server) WatchEvents(req *consensuspb.WatchEventsRequest, stream consensuspb.Consensus_WatchEventsServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	box := &eventBox{wake: make(chan struct{}, 1), latest: make(map[eventKey]*consensuspb.Event)}
	watched := make(map[*group]bool)
	for {
		groups, changed := s.openGroups()
		for _, g := range groups {
			wanted := len(req.GetGroupIds()) == 0 || slices.Contains(req.GetGroupIds(), uint64(g.id))
			if wanted && !watched[g] {
				watched[g] = true
				wg.Go(func() { g.watch(ctx, box) })
			}
		}
		select {
		case <-box.wake:
			for _, e := range box.take() {
				if err := stream.Send(e); err != nil {
					return err
				}
			}
		case <-changed:
			forgetClosed(watched)
		case <-s.stopping:
			return wire.ToStatus(consensus.ErrShuttingDown)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func forgetClosed(watched map[*group]bool) {
	for g := range watched {
		select {
		case <-g.closed:
			delete(watched, g)
		default:
		}
	}
}

// watch puts g's state into box, first all of it, then what changes, until ctx
// or the group ends, or the group has failed.
func (g *group) watch(ctx context.Context, box *eventBox) {
	poll := time.NewTicker(membershipPoll)
	defer poll.Stop()
	var (
		lead   consensus.Leadership
		wanted uint64
		config uint64
	)
	for first := true; ; first = false {
		members := g.log.Members()
		newLead, leadChanged := g.log.Leadership()
		newWanted, wantedChanged := g.log.SnapshotWanted()
		if first || members.ConfigIndex != config {
			config = members.ConfigIndex
			box.putMembership(g.id, members)
		}
		// The term must not go back on a stream, whatever the backend says.
		if first || (newLead != lead && newLead.Term >= lead.Term) {
			lead = newLead
			box.putLeadership(g.id, lead, members)
		}
		if first || newWanted != wanted {
			wanted = newWanted
			box.putWanted(g.id, wanted)
		}
		select {
		case <-g.failed:
			box.putFailed(g.id, g.failure())
			return
		default:
		}
		select {
		case <-g.failed:
		case <-leadChanged:
		case <-wantedChanged:
		case <-poll.C:
		case <-g.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// failure says why g has failed.
func (g *group) failure() error {
	err := errors.New("the backend gave no reason")
	if f, ok := g.log.(consensus.Failer); ok && f.Err() != nil {
		err = f.Err()
	}
	return err
}

// eventKey names one piece of state of one group.
type eventKey struct {
	group consensus.GroupID
	kind  int
}

const (
	eventMembership = iota
	eventLeadership
	eventWanted
	eventFailed
)

// eventBox holds the newest event per key, in the order in which the keys came.
type eventBox struct {
	wake chan struct{} // cap 1: something is in the box

	mu     sync.Mutex
	order  []eventKey
	latest map[eventKey]*consensuspb.Event
}

func (b *eventBox) putLeadership(g consensus.GroupID, l consensus.Leadership, m consensus.Membership) {
	b.put(eventKey{g, eventLeadership}, &consensuspb.Event{
		GroupId: uint64(g), Event: &consensuspb.Event_Leadership{Leadership: wire.LeadershipToProto(g, l, m)},
	})
}

func (b *eventBox) putMembership(g consensus.GroupID, m consensus.Membership) {
	b.put(eventKey{g, eventMembership}, &consensuspb.Event{
		GroupId: uint64(g), Event: &consensuspb.Event_Membership{Membership: wire.MembershipToProto(m)},
	})
}

func (b *eventBox) putWanted(g consensus.GroupID, minIndex uint64) {
	b.put(eventKey{g, eventWanted}, &consensuspb.Event{
		GroupId: uint64(g), Event: &consensuspb.Event_SnapshotRequested{
			SnapshotRequested: &consensuspb.SnapshotRequested{MinIndex: minIndex},
		},
	})
}

// putFailed comes after what was put for g before, and nothing for g comes after it.
func (b *eventBox) putFailed(g consensus.GroupID, err error) {
	b.put(eventKey{g, eventFailed}, &consensuspb.Event{
		GroupId: uint64(g), Event: &consensuspb.Event_GroupFailed{GroupFailed: wire.ErrorToProto(err)},
	})
}

func (b *eventBox) put(key eventKey, e *consensuspb.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, waiting := b.latest[key]; !waiting {
		b.order = append(b.order, key)
	}
	b.latest[key] = e
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *eventBox) take() []*consensuspb.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var events []*consensuspb.Event
	for _, key := range b.order {
		events = append(events, b.latest[key])
		delete(b.latest, key)
	}
	b.order = b.order[:0]
	return events
}
