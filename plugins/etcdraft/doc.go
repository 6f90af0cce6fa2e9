// Package etcdraft is the consensus backend "etcd-raft": go.etcd.io/raft's
// RawNode over the segment log of plugins/seglog and a transport of its own.
//
// # What runs
//
// A group has one goroutine, its loop, that owns the RawNode. All groups share
// one writer, which appends to the log and syncs, and one sender per peer. None
// of them ever waits for another: what is handed over goes into the group's
// inbox, the writer's queue or a peer's bounded channel, and the last one drops
// when it is full.
//
// # On disk
//
//	log/                          the segment log, see plugins/seglog
//	snapshots/<group>/<term>-<index>.snap   the host's bytes
//
// The log's snapshot mark names the snapshot that counts and holds its size,
// SHA-256, format and configuration as JSON. A file is synced and named before
// the mark is written, and files that no mark names are removed at the start.
// The first byte of a proposed entry's data is 1; the entries of raft itself
// have none. A membership change is raft's ConfChangeV2, whose context is JSON
// (change.go).
//
// # On the wire
//
// Replicas dial each other at their own port, each the connections on which it
// sends: one for the messages of all groups, and one per snapshot. A
// connection begins with a hello (hello.go); messages come in frames
// (frame.go), a snapshot as a head and its content (snapshot_transfer.go). With
// TLS both sides are verified; a certificate with names of the form
// replica-<id>.<cluster id> is taken from that replica only, and if names are
// checked at all (allowed_sans), it must have the replica's.
package etcdraft
