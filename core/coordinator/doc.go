// Package coordinator is the machinery that the coordinators share: a state
// machine on one partition of an internal topic, led by whoever leads the
// partition.
//
// A Shard is one such machine and the one goroutine that touches it. Events come
// through a bounded mailbox, decide on the machine and write records; the
// records of a round are appended as one batch, then replayed into the machine,
// and the answers leave when the batch is committed on the in-sync replicas. A
// broker that becomes the partition's leader replays the log into a new machine
// and serves once all of it is committed; one that is not the leader any more
// answers everything that waits with NOT_COORDINATOR.
//
// Shards is all the shards of one topic. Its methods are safe for concurrent
// use; what an event does runs on the shard's goroutine and must not block.
package coordinator
