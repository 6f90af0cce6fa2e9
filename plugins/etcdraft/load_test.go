package etcdraft

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// load proposes all the time until it is stopped. Whatever was committed must be
// in the log, once.
type load struct {
	c      *cluster
	mu     sync.Mutex
	groups []consensus.Group
	acked  map[string]uint64
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

func startLoad(c *cluster) *load {
	ctx, cancel := context.WithCancel(c.t.Context())
	l := &load{c: c, acked: make(map[string]uint64), stop: cancel}
	l.see()
	l.ended.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			l.mu.Lock()
			groups := l.groups
			l.mu.Unlock()
			for _, g := range groups {
				leads, _ := g.Leadership()
				if leads.Role != consensus.LeaderReady {
					continue
				}
				data := fmt.Sprintf("load %d of %d", n, leads.Term)
				if r := propose(g, leads.Term, []byte(data)); r.Outcome == consensus.Committed {
					l.mu.Lock()
					l.acked[data] = r.Index
					l.mu.Unlock()
				}
				break
			}
		}
	})
	return l
}

// see tells the load which replicas there are.
func (l *load) see() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = nil
	for _, g := range l.c.groups {
		if g != nil {
			l.groups = append(l.groups, g)
		}
	}
}

// check ends the load and looks for what was committed in the log of replica i.
func (l *load) check(i int) {
	l.c.t.Helper()
	l.stop()
	l.ended.Wait()
	l.c.awaitCaughtUp(i)
	lines, err := dump(l.c.groups[i], 1)
	if err != nil {
		l.c.t.Fatal(err)
	}
	for data, index := range l.acked {
		if line := lines[index-1]; !strings.HasSuffix(line, fmt.Sprintf("false %q", data)) {
			l.c.t.Errorf("committed %q at %d, replica %d has %s", data, index, i+1, line)
		}
	}
	if len(l.acked) == 0 {
		l.c.t.Error("the load had nothing committed")
	}
}
