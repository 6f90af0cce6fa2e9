package controller

import (
	"slices"

	"github.com/quorate/quorate/core/metadata"
)

// reconcile makes the metadata follow from who is alive: brokers that are dead
// are fenced; brokers that are not up leave ISRs and lead nothing; partitions
// without a leader get one. It is triggered by the level, not by an edge:
// whatever the image looks like, it ends in the same state, and in that state it
// does nothing.
func (r *round) reconcile() {
	if r.delta.ClusterID() == "" {
		r.must(metadata.ClusterRecord{ID: r.cfg.ClusterID})
	}
	for b := range r.delta.Brokers() {
		if !b.Fenced && r.t.live.expired(b.ID, r.now) {
			r.t.c.log.Info("broker fenced", "broker", b.ID, "epoch", b.Epoch, "silent", r.t.live.silence(b.ID, r.now))
			r.must(metadata.BrokerChangeRecord{ID: b.ID, Epoch: b.Epoch, Fenced: new(true)})
		}
	}
	r.repairAll()
}

// must commits a record that cannot be refused; if it is, the round is broken.
func (r *round) must(rec metadata.Record) {
	if err := r.commit(rec); err != nil {
		r.t.c.log.Error("reconciliation failed", "error", err)
	}
}

// repairAll gives every partition the ISR and the leader it should have, and ends the
// reassignments that can be ended.
func (r *round) repairAll() {
	alive := map[int32]bool{}
	for b := range r.delta.Brokers() {
		alive[b.ID] = !b.Fenced && !b.InControlledShutdown
	}
	var changes []metadata.PartitionChangeRecord
	for topic := range r.delta.Topics() {
		for n, p := range topic.Partitions {
			unclean := func() bool { return r.delta.TopicConfig(topic.Name, r.cfg.Defaults).UncleanLeaderElection() }
			if rec, changed := repair(p, alive, unclean); changed {
				rec.TopicID, rec.Partition = topic.ID, int32(n)
				changes = append(changes, rec)
			}
		}
	}
	for _, rec := range changes {
		r.must(rec)
	}
	r.finishReassignments()
}

// repair returns what a partition needs: replicas that are not alive leave the
// ISR, unless none would stay, because the last ones alone have all records. The
// leader stays if it can, or else is the first replica of the ISR that is alive,
// in the order of preference; or none. Only if unclean is allowed, another
// replica leads when the whole ISR is gone.
func repair(p *metadata.Partition, alive map[int32]bool, unclean func() bool) (rec metadata.PartitionChangeRecord, changed bool) {
	isr := filter(p.ISR, alive)
	leader := p.Leader
	switch {
	case len(isr) > 0:
		if !slices.Contains(isr, leader) {
			leader = p.Replicas[slices.IndexFunc(p.Replicas, func(id int32) bool { return slices.Contains(isr, id) })]
		}
	case len(filter(p.Replicas, alive)) > 0 && unclean():
		leader = filter(p.Replicas, alive)[0]
		isr = []int32{leader}
	default:
		isr, leader = p.ISR, metadata.NoLeader
	}
	if leader != p.Leader {
		rec.Leader = &leader
	}
	if !slices.Equal(isr, p.ISR) {
		rec.ISR = isr
	}
	return rec, rec.Leader != nil || rec.ISR != nil
}

// filter returns the ids that are in the set, in order. It allocates only if
// some are not.
func filter(ids []int32, set map[int32]bool) []int32 {
	if !slices.ContainsFunc(ids, func(id int32) bool { return !set[id] }) {
		return ids
	}
	var out []int32
	for _, id := range ids {
		if set[id] {
			out = append(out, id)
		}
	}
	return out
}
