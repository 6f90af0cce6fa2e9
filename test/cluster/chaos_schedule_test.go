//go:build integration

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// fault is one way to mistreat a cluster. A fault with a mend lasts until it is
// mended; one without is over at once.
type fault struct {
	name  string
	nodes []int // whose processes it touches
	do    func(context.Context) (mend func(context.Context) error, err error)
}

// step is one or two faults that last together, and the pause after them.
type step struct {
	faults     []fault
	hold, rest time.Duration
}

func (s step) String() string {
	var names []string
	for _, f := range s.faults {
		names = append(names, f.name)
	}
	return fmt.Sprintf("%s for %v, then rest %v", strings.Join(names, " + "), s.hold, s.rest)
}

// schedule draws steps; equal seeds draw equal steps.
type schedule struct {
	random *rand.Rand
	c      *lab.Cluster
}

func newSchedule(c *lab.Cluster, seed uint64) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(seed, 0)), c: c} //nolint:gosec // a schedule has to repeat
}

// next draws a step. Data is never taken away, so whatever it breaks can recover;
// two faults at once touch the processes of different nodes.
func (s *schedule) next() step {
	st := step{hold: s.between(100*time.Millisecond, 4*time.Second), rest: s.between(0, 3*time.Second)}
	switch s.random.IntN(16) {
	case 0:
		st.faults = []fault{killAll(s.c)}
		return st
	case 1:
		st.hold = s.between(8*time.Second, 13*time.Second) // beyond replica.lag.time.max.ms
	}
	st.faults = []fault{s.fault(0)}
	if s.random.IntN(4) == 0 {
		st.faults = append(st.faults, s.fault(st.faults[0].nodes[0]))
	}
	return st
}

func (s *schedule) between(from, to time.Duration) time.Duration {
	return (from + time.Duration(s.random.Int64N(int64(to-from)))).Round(time.Millisecond)
}

// fault draws a fault of any node but one.
func (s *schedule) fault(except int) fault {
	id := 1 + s.random.IntN(3)
	for id == except {
		id = 1 + s.random.IntN(3)
	}
	n, to := s.c.Node(id), 1+(id+s.random.IntN(2))%3
	how := lab.Frozen + lab.Traffic(s.random.IntN(2))
	kinds := []func() fault{
		func() fault { return kill(n) },
		func() fault { return killPlugin(n) },
		func() fault { return pauseNode(n) },
		func() fault { return pausePlugin(n) },
		func() fault { return isolate(s.c, id, how) },
		func() fault { return cut(s.c, id, to, how) },
		func() fault { return hangUp(s.c, id, to) },
		func() fault { return stop(n) },
	}
	return kinds[s.random.IntN(len(kinds))]()
}

func kill(n *lab.Node) fault {
	return fault{fmt.Sprintf("kill node %d", n.ID), []int{n.ID}, func(context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return n.Start() }, n.Kill()
	}}
}

func killAll(c *lab.Cluster) fault {
	return fault{"kill all nodes", []int{1, 2, 3}, func(ctx context.Context) (func(context.Context) error, error) {
		for _, n := range c.Nodes() {
			if err := n.Kill(); err != nil {
				return nil, err
			}
		}
		return c.Start, nil
	}}
}

func stop(n *lab.Node) fault {
	return fault{fmt.Sprintf("stop node %d", n.ID), []int{n.ID}, func(ctx context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return n.Start() }, n.Stop(ctx)
	}}
}

func killPlugin(n *lab.Node) fault {
	return fault{fmt.Sprintf("kill the plugin of node %d", n.ID), []int{n.ID}, func(ctx context.Context) (func(context.Context) error, error) {
		return nil, onPlugin(ctx, n, n.KillPlugin)
	}}
}

func pauseNode(n *lab.Node) fault {
	return fault{fmt.Sprintf("pause node %d", n.ID), []int{n.ID}, func(context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return n.Resume() }, n.Pause()
	}}
}

func pausePlugin(n *lab.Node) fault {
	return fault{fmt.Sprintf("pause the plugin of node %d", n.ID), []int{n.ID}, func(ctx context.Context) (mend func(context.Context) error, err error) {
		err = onPlugin(ctx, n, func() error {
			resume, err := n.PausePlugin()
			mend = func(context.Context) error { return resume() }
			return err
		})
		return mend, err
	}}
}

func isolate(c *lab.Cluster, id int, how lab.Traffic) fault {
	return fault{fmt.Sprintf("isolate node %d (%v)", id, how), []int{id}, func(context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return c.Heal() }, c.Isolate(id, how)
	}}
}

func cut(c *lab.Cluster, from, to int, how lab.Traffic) fault {
	return fault{fmt.Sprintf("cut %d to %d (%v)", from, to, how), []int{from}, func(context.Context) (func(context.Context) error, error) {
		return func(context.Context) error { return c.Heal() }, c.Cut(from, to, how)
	}}
}

func hangUp(c *lab.Cluster, from, to int) fault {
	return fault{fmt.Sprintf("hang up %d to %d", from, to), []int{from}, func(context.Context) (func(context.Context) error, error) {
		c.HangUp(from, to)
		return nil, nil
	}}
}

// onPlugin waits for a plugin, which a node that has just begun may not have.
func onPlugin(ctx context.Context, n *lab.Node, do func() error) error {
	return lab.Await(ctx, fmt.Sprintf("the plugin of node %d", n.ID), func(context.Context) (bool, string) {
		err := do()
		return err == nil, fmt.Sprint(err)
	})
}
