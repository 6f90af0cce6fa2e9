// Package solo is a consensus backend of one node: a log on one disk, without
// replication, elections or peers. It is for development, for tests, and for
// authors of backends: everything that the contract asks of storage is here, in
// little code, and nothing else. Copy it.
//
// It promises the rules of the package consensus that one node can break: an
// entry is on stable storage before it is COMMITTED (S1), a failed write ends
// the process (S2), a torn tail is cut and other damage refused (S3), snapshots
// appear whole or not at all (S4), and every start leads in a new term (T3).
//
// # On disk
//
// Each group has a folder group-<id> in the data directory:
//
//	log                      the entries, see journal.go
//	snapshot-<index>         the newest snapshot, see snapshot.go
//	*.tmp                    unfinished; removed at the next start
//
// The data directory is locked, and stamped with its owner, by the SDK.
package solo
