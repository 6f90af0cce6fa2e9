// Package solo is a consensus backend of one node: a log on one disk, without
// replication, elections or peers. It is for development, for tests, and for
// authors of backends: a whole backend in little code. Copy it.
//
//	backend.go    what the backend says of itself
//	group.go      a group: leadership, proposals, delivery
//	snapshot.go   its snapshots, and what becomes of the log behind one
//
// What every backend needs is in packages of its own, for yours as well:
//
//	consensus/sdk            the process around it: handshake, streams, windows, order
//	consensus/sdk/queue      proposals for one writer, bounded
//	consensus/sdk/watched    values whose readers wait for the next change
//	consensus/sdk/snapshot   snapshot files, and when one is wanted
//	consensus/sdk/options    settings, their schema and their check
//	plugins/seglog           the log: entries, votes, marks; cuts a torn tail, refuses damage
//
// It keeps the rules of the package consensus that one node can break: an entry is
// on stable storage before it is COMMITTED (S1), nothing is written after a failed
// write (S2: the SDK ends the process), a torn tail is cut and other damage refused
// (S3), snapshots appear whole or not at all (S4), and every start leads in a new
// term (T3).
//
// # On disk
//
// A folder group-<id> with the segments of the log (package seglog) and the newest
// snapshot (package snapshot). The snapshot is durable before the log drops what
// it covers. The data directory around it is locked, and stamped with its owner,
// by the SDK.
package solo
