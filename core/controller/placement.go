package controller

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// placement is the brokers in the order in which replicas are put on them.
type placement struct {
	alive  []*metadata.Broker // racks take turns
	fenced []*metadata.Broker // take replicas only when the others are not enough
	start  int
	shift  int
}

// newPlacement orders the brokers. The start is random, so that topics of one
// partition do not all land on the same broker.
func newPlacement(d *metadata.Delta, random *rand.Rand) *placement {
	p := &placement{}
	for b := range d.Brokers() {
		if up(d, b.ID) {
			p.alive = append(p.alive, b)
		} else {
			p.fenced = append(p.fenced, b)
		}
	}
	p.alive, p.fenced = rackOrder(p.alive), rackOrder(p.fenced)
	if n := len(p.alive); n > 0 {
		p.start, p.shift = random.IntN(n), random.IntN(n)
	}
	return p
}

// rackOrder sorts brokers so that neighbours are of different racks as long as
// possible: the first of each rack, then the second of each.
func rackOrder(brokers []*metadata.Broker) []*metadata.Broker {
	slices.SortFunc(brokers, func(a, b *metadata.Broker) int { return cmp.Compare(a.ID, b.ID) })
	turn, turns := map[int32]int{}, map[string]int{}
	for _, b := range brokers {
		turn[b.ID] = turns[b.Rack]
		turns[b.Rack]++
	}
	slices.SortStableFunc(brokers, func(a, b *metadata.Broker) int {
		return cmp.Or(cmp.Compare(turn[a.ID], turn[b.ID]), cmp.Compare(a.Rack, b.Rack))
	})
	return brokers
}

// check tells why a replication factor can not be had.
func (p *placement) check(factor int) error {
	switch all := len(p.alive) + len(p.fenced); {
	case factor > all:
		return protocol.Errorf(protocol.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): only %d broker(s) are registered, %d of them alive.", factor, all, len(p.alive))
	case len(p.alive) == 0:
		return protocol.Errorf(protocol.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): all %d registered brokers are fenced.", factor, all)
	}
	return nil
}

// replicas returns the replicas of a partition, the leader first. Leaders go
// round the brokers; the others follow the leader at a distance that grows with
// each round, so that what one broker leads is not all followed by the same.
func (p *placement) replicas(partition, factor int) []int32 {
	n := len(p.alive)
	leader := (p.start + partition) % n
	order := []*metadata.Broker{p.alive[leader]}
	if n > 1 {
		skip := (p.shift + partition/n) % (n - 1)
		for k := range n - 1 {
			order = append(order, p.alive[(leader+1+(skip+k)%(n-1))%n])
		}
	}
	return spread(append(order, p.fenced...), n, factor)
}

// spread picks factor brokers: always the next one of a rack that has the fewest
// replicas yet, and none of the fenced, behind alive, before all others.
func spread(order []*metadata.Broker, alive, factor int) []int32 {
	var out []int32
	used, racks := map[int32]bool{}, map[string]int{}
	for len(out) < factor {
		candidates := order[:alive]
		if len(out) >= alive {
			candidates = order
		}
		var best *metadata.Broker
		for _, b := range candidates {
			if !used[b.ID] && (best == nil || racks[b.Rack] < racks[best.Rack]) {
				best = b
			}
		}
		out = append(out, best.ID)
		used[best.ID] = true
		racks[best.Rack]++
	}
	return out
}

// newPartition is the record of a partition on replicas: those that are up are in
// sync, the first of them leads. ok is false if none is.
func newPartition(d *metadata.Delta, topic metadata.UUID, partition int32, replicas []int32) (rec metadata.PartitionRecord, ok bool) {
	var isr []int32
	for _, id := range replicas {
		if up(d, id) {
			isr = append(isr, id)
		}
	}
	if len(isr) == 0 {
		return rec, false
	}
	return metadata.PartitionRecord{TopicID: topic, Partition: partition, Replicas: replicas, ISR: isr, Leader: isr[0]}, true
}
