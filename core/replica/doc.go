// Package replica holds this broker's copies of partitions: it appends for
// clients where this broker leads, and copies the leader's log where it follows.
//
// A Manager reads who leads what from the published metadata images and brings
// the partitions into line with it (OnImage). A Partition is one copy: Append and
// AwaitAcks serve Produce, Read serves Fetch of consumers and followers, and the
// high watermark says what is durable on the whole in-sync replica set (ISR).
//
// What it promises: a record whose AwaitAcks with acks=-1 returned nil is on the
// stable storage of every ISR member, of at least min.insync.replicas of them,
// and is never truncated while one of those keeps its disk.
//
// How to use it:
//
//  1. NewManager.
//  2. Register OnImage with the metadata loader, and the callbacks of OnLeadership,
//     before the loader runs.
//  3. Run. Without it nothing becomes durable: the goroutines that sync logs, fetch
//     from leaders and change ISRs live there. When its context ends it closes every
//     log; when a disk fails it returns the error, and the broker has to stop.
//
// Images are taken as history, and ignored, until one holds the registration that
// brokerEpoch names: a broker that restarts replays old images, and must neither
// lead by them nor delete logs by them.
//
// Everything here may be called concurrently, except OnImage and OnLeadership.
//
// On disk, below Config.DataDir: one directory per partition, "<topic>-<partition>",
// which core/wal fills, with partition.metadata that binds it to a topic id;
// directories that end in "-delete", which wait for their removal; and
// replication-offset-checkpoint, the high watermarks by topic id. All but that one are
// in Kafka's formats.
package replica
