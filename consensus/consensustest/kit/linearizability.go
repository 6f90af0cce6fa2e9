package kit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/quorate/quorate/consensus"
)

const (
	clients       = 5
	keys          = 3
	checkDeadline = 30 * time.Second
	opDeadline    = 3 * time.Second
)

// operation is what a client asks of a register.
type operation struct {
	kind     string // "set", "cas" or "get"
	key      string
	old, new string
}

// reply is what it was told. An operation without one may have taken place.
type reply struct {
	known   bool
	value   string // of a get
	swapped bool   // of a cas
}

// asked and told undo what porcupine's any hides; there is nothing else in it.
func asked(input any) operation {
	op, _ := input.(operation)
	return op
}

func told(output any) reply {
	r, _ := output.(reply)
	return r
}

// register is the sequential specification, per key.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := asked(o.Input).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byKey {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		op, r := asked(input), told(output)
		value, _ := state.(string)
		switch op.kind {
		case "set":
			return true, op.new
		case "cas":
			swapped := value == op.old
			if r.known && r.swapped != swapped {
				return false, value
			}
			if swapped {
				return true, op.new
			}
			return true, value
		default:
			return !r.known || r.value == value, value
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// linearizable lets clients work with registers while faults happen, and wants
// that there is one order of everything that explains what they were told.
func linearizable(l *lab, faults func(*lab)) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(5, 1)
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	var mu sync.Mutex
	var history []porcupine.Operation
	begin := time.Now()
	var working sync.WaitGroup
	for id := range clients {
		random := rand.New(rand.NewPCG(l.opts.Seed, uint64(id)))
		working.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				op := randomOperation(random, fmt.Sprintf("%d.%d", id, i))
				call := time.Since(begin)
				r, took := l.operate(ctx, op, fmt.Sprintf("%d.%d", id, i), random)
				if !took {
					wait(ctx, 10*time.Millisecond)
					continue // it certainly did nothing
				}
				end := time.Since(begin)
				if !r.known {
					end = time.Hour // it may take place at any time from now on
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: id, Input: op, Call: int64(call), Output: r, Return: int64(end)})
				mu.Unlock()
				wait(ctx, time.Duration(random.IntN(10))*time.Millisecond)
			}
		})
	}
	faults(l)
	l.pause(200 * time.Millisecond)
	cancel()
	working.Wait()
	l.judge(history)
	l.commit(1, 1)
	l.converge()
}

func (l *lab) judge(history []porcupine.Operation) {
	// Reads without an answer say nothing.
	history = slices.DeleteFunc(history, func(o porcupine.Operation) bool { return asked(o.Input).kind == "get" && !told(o.Output).known })
	known := 0
	for _, o := range history {
		if told(o.Output).known {
			known++
		}
	}
	l.figure("linearizable_operations", float64(known))
	if known == 0 {
		l.checks.breaks("P3", "no client got an answer")
	}
	switch porcupine.CheckOperationsTimeout(register, history, checkDeadline) {
	case porcupine.Illegal:
		l.checks.breaks("R1", "the history of %d operations on %d registers is not linearizable", len(history), keys)
	case porcupine.Unknown:
		l.log.Warn("the history could not be judged in time", "operations", len(history))
	}
}

func randomOperation(random *rand.Rand, value string) operation {
	op := operation{key: fmt.Sprintf("k%d", random.IntN(keys)), new: value}
	switch random.IntN(4) {
	case 0:
		op.kind = "set"
	case 1:
		op.kind, op.old = "cas", fmt.Sprintf("%d.%d", random.IntN(clients), random.IntN(20))
	default:
		op.kind = "get"
	}
	return op
}

// operate does op, through whoever says that it leads. took is false if it
// certainly has no effect.
func (l *lab) operate(ctx context.Context, op operation, id string, random *rand.Rand) (r reply, took bool) {
	ctx, cancel := context.WithTimeout(ctx, opDeadline)
	defer cancel()
	nodes := l.everybody()
	n := nodes[random.IntN(len(nodes))]
	at := n.leadership()
	if at.Role != consensus.LeaderReady {
		return reply{}, false
	}
	if op.kind == "get" {
		return l.get(ctx, n, op)
	}
	command := fmt.Sprintf("set %s %s %s", op.key, op.new, id)
	if op.kind == "cas" {
		command = fmt.Sprintf("cas %s %s %s %s", op.key, op.old, op.new, id)
	}
	results := l.propose(n, at.Term, command)
	select {
	case result := <-results:
		switch result.Outcome {
		case consensus.Rejected:
			return reply{}, false
		case consensus.Unknown:
			return reply{}, true
		}
		return l.applied(ctx, n, result.Index, command, id), true
	case <-ctx.Done():
		return reply{}, true
	}
}

// applied waits until the command was applied, which alone answers a client.
func (l *lab) applied(ctx context.Context, n *node, index uint64, command, id string) reply {
	if !n.awaitApplied(ctx, index) {
		return reply{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.state.Applied[nameOf(command)]; !ok {
		return reply{} // void
	}
	return reply{known: true, swapped: n.state.Done[id]}
}

func (l *lab) get(ctx context.Context, n *node, op operation) (reply, bool) {
	c := n.client()
	if c == nil {
		return reply{}, false
	}
	index, _, err := c.ReadIndex(ctx, consensus.Metadata)
	if err != nil || !n.awaitApplied(ctx, index) {
		return reply{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return reply{known: true, value: n.state.Registers[op.key]}, true
}

// crashes kills whoever leads, and now and then somebody else.
func crashes(l *lab) {
	for range l.scale(4, 12, 60) {
		l.pause(300 * time.Millisecond)
		n, _ := l.leader()
		if l.random.IntN(3) == 0 {
			n = l.nodes[l.random.IntN(len(l.nodes))]
		}
		n.kill()
		l.pause(time.Duration(l.random.IntN(400)) * time.Millisecond)
		n.start(consensus.OpenRecover)
	}
}

// partitions cuts off whoever leads, and now and then somebody else.
func partitions(l *lab) {
	for i := range l.scale(4, 12, 60) {
		l.pause(300 * time.Millisecond)
		n, _ := l.leader()
		if l.random.IntN(3) == 0 {
			n = l.nodes[l.random.IntN(len(l.nodes))]
		}
		l.links.isolate(n, lost[i%2])
		l.pause(time.Duration(200+l.random.IntN(600)) * time.Millisecond)
		l.links.heal()
	}
}
