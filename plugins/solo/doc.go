// Package solo is a consensus backend of one node: a log on one disk, without
// replication, elections or peers. It is for development, for tests, and for
// authors of backends: everything that the contract asks of storage is here, in
// little code, and nothing else. Copy it.
//
// It promises the rules of the package consensus that one node can break: an
// entry is on stable storage before it is COMMITTED (S1), nothing is written
// after a failed write (S2: the SDK ends the process of a backend that returns
// ErrStorageFailed), a torn tail is cut and other damage refused (S3), snapshots
// appear whole or not at all (S4), and every start leads in a new term (T3).
//
// What it does not do: there is one group, entries since the newest snapshot are
// also in memory, and so is a snapshot while it is saved. The host takes
// snapshots before that is much.
//
//	backend.go   what the backend says of itself
//	group.go     the methods of the group, and the one goroutine that writes
//	journal.go   the file, and how it is recovered
//
// # On disk
//
// One file, group-<id>, of records, all numbers little endian:
//
//	record    length of the entries (8), crc32c of what follows (4), position of the record in the file (8), entries
//	entry     index (8), term (8), internal (1), length of data (4), data
//
// The one entry of the first record is the newest snapshot: its data is the
// format's name, a zero byte, and what the host wrote; its index is 0 if there is none.
//
// A batch of entries is one record and one sync, so every record was durable
// before the next one was written: a bad one with a good one behind is damage, and
// a bad one at the end was not finished. A snapshot replaces the file by a new
// one, of three records: the snapshot, the entries that stay, and an empty one.
//
// The data directory is locked, and stamped with its owner, by the SDK.
package solo
