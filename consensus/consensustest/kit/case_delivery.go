package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus"
)

var deliveryCases = []Case{
	{Number: 7, Name: "positions", Level: 1, Nodes: 1, Rules: []string{"D1", "D2", "D4", "D6"}, run: positions},
	{Number: 6, Name: "a host that does not read", Level: 1, Nodes: 1, Rules: []string{"P6", "D2"}, Process: true, run: slowReader},
	{Number: 22, Name: "groups are apart", Level: 1, Nodes: 1, Rules: []string{"MULTI_GROUP"}, Needs: consensus.CapMultiGroup, run: manyGroups},
}

var errEnough = errors.New("enough")

// read collects entries from index from on, until there are count or the wait is over.
func (l *lab) read(c consensus.Client, g consensus.GroupID, from uint64, count int, wait time.Duration) (entries []consensus.Entry, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, wait)
	defer cancel()
	err = c.Subscribe(ctx, g, from, func(b consensus.Batch) error {
		entries = append(entries, b.Entries...)
		if len(entries) >= count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return entries, err
}

func positions(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(100, 16)
	l.converge()
	n := l.nodes[0]
	last := n.applied()
	for _, from := range []uint64{1, last / 2, last} {
		entries, err := l.read(n.client(), consensus.Metadata, from, int(last-from)+1, l.opts.Patience)
		if err != nil || len(entries) != int(last-from)+1 || entries[0].Index != from {
			l.checks.breaks("D2", "from %d of %d: %d entries, %v", from, last, len(entries), err)
		}
	}
	if _, err := l.read(n.client(), consensus.Metadata, last+2, 1, l.opts.Patience); !errors.Is(err, consensus.ErrAheadOfLog) {
		l.checks.breaks("D4", "from %d, the log ends at %d: %v", last+2, last, err)
	}
	type answer struct {
		entries []consensus.Entry
		err     error
	}
	next := make(chan answer, 1)
	l.background.Go(func() {
		entries, err := l.read(n.client(), consensus.Metadata, last+1, 1, l.opts.Patience)
		next <- answer{entries, err}
	})
	l.pause(20 * time.Millisecond) // so that it waits at the end, most of the time
	l.commit(1, 1)
	if a := <-next; a.err != nil || len(a.entries) == 0 || a.entries[0].Index != last+1 {
		l.checks.breaks("D1", "a subscriber at the end of the log gets %d entries: %v", len(a.entries), a.err)
	}
}

// slowReader leaves a subscription unread while the log grows.
func slowReader(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.background.Go(func() {
		_ = n.client().Subscribe(ctx, consensus.Metadata, 1, func(consensus.Batch) error {
			<-ctx.Done()
			return ctx.Err()
		})
	})
	padding := strings.Repeat("x", 64<<10)
	grow := func(count int) {
		var window []<-chan consensus.Result
		for range count {
			if window = append(window, l.propose(n, at.Term, l.command()+padding)); len(window) == 8 {
				l.mustCommit(window[0])
				window = window[1:]
			}
		}
		for _, w := range window {
			l.mustCommit(w)
		}
	}
	grow(200)
	before := residentBytes(n.process().PID())
	const step = 800 // 50 MiB
	for done := range l.scale(2, 5, 20) {
		grow(step)
		if after := residentBytes(n.process().PID()); after > before+192<<20 {
			l.giveUp("P6", "%d MiB were committed while a subscriber did not read, and the process grew from %d to %d MiB",
				(done+1)*step/16, before>>20, after>>20)
		}
		if done > 0 { // a host that is alive saves snapshots, whoever does not read
			l.converge()
			l.mustSave(n, 0)
		}
	}
	l.converge()
}

// residentBytes is the memory of a process, 0 where that cannot be told.
func residentBytes(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(data)); err == nil && len(f) > 1 {
		if pages, err := strconv.Atoi(f[1]); err == nil {
			return pages * os.Getpagesize()
		}
	}
	return 0
}

// manyGroups opens several groups and writes to all.
func manyGroups(l *lab) {
	count := min(l.scale(8, 50, 100), int(l.described.Limits.MaxGroups))
	for id := 2; id <= count; id++ {
		l.extra = append(l.extra, consensus.GroupID(id))
	}
	l.startAll(consensus.OpenBootstrap)
	c := l.nodes[0].client()
	for _, g := range l.extra {
		var at consensus.Leadership
		l.eventually("T4", fmt.Sprintf("group %d has a leader", g), func() bool {
			at, _ = c.LeaderFor(g)
			return at.Role == consensus.LeaderReady
		})
		for sequence := uint64(1); sequence <= 5; sequence++ {
			data := consensus.Envelope{ExpectedTerm: at.Term, Sequence: sequence, Payload: fmt.Appendf(nil, "group %d", g)}.Append(nil)
			if r := l.await(c.Enqueue(consensus.Proposal{Group: g, Term: at.Term, Sequence: sequence, Data: data})); r.Outcome != consensus.Committed {
				l.checks.breaks("MULTI_GROUP", "group %d: %s: %v", g, r.Outcome, r.Err)
			}
		}
	}
	l.commit(10, 4)
	for _, g := range l.extra {
		entries, err := l.read(c, g, 1, 6, l.opts.Patience)
		if err != nil {
			l.checks.breaks("MULTI_GROUP", "group %d: read: %v", g, err)
		}
		for _, e := range entries {
			if env, err := consensus.ParseEnvelope(e.Data); !e.Internal && (err != nil || string(env.Payload) != fmt.Sprintf("group %d", g)) {
				l.checks.breaks("MULTI_GROUP", "group %d holds %q at %d: %v", g, env.Payload, e.Index, err)
			}
		}
	}
	l.converge()
}
