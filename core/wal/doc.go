// Package wal is one partition's log on disk: Kafka's own files, written by one
// appender at a time and read without locks; and the commit log that makes the appends
// of all partitions durable together ([Committer]).
//
// [Open] recovers what a crash left and returns a [Log]. A leader appends with
// AppendAsLeader, which gives offsets and checks idempotent producers; a follower
// with AppendAsFollower, which keeps what the leader gave. An append only writes
// to the page cache: whoever wants to acknowledge it calls Sync with the end that
// the append returned and waits. With a committer one fdatasync is
// shared by all logs, else by the callers that meet on a log.
//
// Promises:
//   - Everything before Durable survives a power cut, in order and once.
//   - Everything before End survives the death of the process.
//   - Producer state (the last five batches of every idempotent producer, its open
//     transaction) and the index of aborted transactions always equal what a reading of
//     the log would give.
//   - An error of the disk is final. The log answers [ErrFailed] from then on; the
//     caller closes it and does not go on with the directory.
//
// Every method of Log may be called concurrently, except that nothing may be
// called after Close or Delete but them: it answers [ErrClosed]. Reads see
// everything before End.
//
// What is in the files is in docs/formats/partition-log.md, how the parts work
// together in DESIGN.md.
package wal
