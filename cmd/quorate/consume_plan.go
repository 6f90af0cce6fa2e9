package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// position is where to begin in each partition.
type position struct {
	fromEnd bool
	n       int64 // an offset; from the end: how many records before it
}

func parseOffset(s string) (position, error) {
	switch s {
	case "start", "beginning", "earliest":
		return position{}, nil
	case "end", "latest":
		return position{fromEnd: true}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return position{}, usagef("--offset is %q, which is not start, end, an offset or -N", s)
	}
	if n < 0 {
		return position{fromEnd: true, n: -n}, nil
	}
	return position{n: n}, nil
}

// in returns the offset to begin at in a partition that has those from start up
// to end.
func (p position) in(start, end int64) int64 {
	at := p.n
	if p.fromEnd {
		at = end - p.n
	}
	return min(max(at, start), end)
}

// offset is the position as the client resolves it.
func (p position) offset() kgo.Offset {
	switch {
	case p.fromEnd:
		return kgo.NewOffset().AtEnd().Relative(-p.n)
	case p.n == 0:
		return kgo.NewOffset().AtStart()
	default:
		return kgo.NewOffset().At(p.n)
	}
}

// remaining is which partitions have not been read to their end yet: the next
// offset that counts as the end, by topic and partition.
type remaining map[string]map[int32]int64

func (r remaining) empty() bool {
	for _, partitions := range r {
		if len(partitions) > 0 {
			return false
		}
	}
	return true
}

// read notes a record, and reports whether it is still before the end.
func (r remaining) read(rec *kgo.Record) bool {
	end, ok := r[rec.Topic][rec.Partition]
	if !ok {
		return false
	}
	if rec.Offset+1 >= end {
		delete(r[rec.Topic], rec.Partition)
	}
	return rec.Offset < end
}

// plan is what is consumed without a group: where each partition begins, and
// which ends are ahead.
type plan struct {
	assignment map[string]map[int32]kgo.Offset
	left       remaining
}

// add plans a topic: the wanted partitions, or all of them.
func (p plan) add(topic kadm.TopicDetail, wanted []int32, at position, starts, ends kadm.ListedOffsets) error {
	name := topic.Topic
	for _, w := range wanted {
		if _, ok := topic.Partitions[w]; !ok {
			return noSuchPartition(name, w, len(topic.Partitions))
		}
	}
	p.assignment[name], p.left[name] = map[int32]kgo.Offset{}, map[int32]int64{}
	for id := range topic.Partitions {
		if len(wanted) > 0 && !slices.Contains(wanted, id) {
			continue
		}
		start, end, err := bounds(name, id, starts, ends)
		if err != nil {
			return err
		}
		begin := at.in(start, end)
		p.assignment[name][id] = kgo.NewOffset().At(begin)
		if begin < end {
			p.left[name][id] = end
		}
	}
	return nil
}

// bounds returns the first offset of a partition and the one after its last.
func bounds(topic string, id int32, starts, ends kadm.ListedOffsets) (start, end int64, err error) {
	first, _ := starts.Lookup(topic, id)
	last, ok := ends.Lookup(topic, id)
	switch {
	case !ok:
		return 0, 0, fmt.Errorf("%s-%d: no broker told its offsets", topic, id)
	case first.Err != nil:
		return 0, 0, fmt.Errorf("%s-%d: %w", topic, id, explain(first.Err, ""))
	case last.Err != nil:
		return 0, 0, fmt.Errorf("%s-%d: %w", topic, id, explain(last.Err, ""))
	default:
		return first.Offset, last.Offset, nil
	}
}

func noSuchPartition(topic string, id int32, count int) error {
	if count == 1 {
		return fmt.Errorf("topic %s has no partition %d, only 0", topic, id)
	}
	return fmt.Errorf("topic %s has no partition %d, only 0 to %d", topic, id, count-1)
}
