// Package hashicorpraft is a consensus backend on github.com/hashicorp/raft, with
// plugins/seglog as its log, or github.com/hashicorp/raft-wal if that is asked
// for.
//
// The library is used for elections, replication and the transport of
// snapshots. What it also offers and the contract forbids is taken from it: its
// state machine only counts, entries are delivered from the log store, and
// snapshots and compaction are decided by the host. DESIGN.md tells why.
//
// It keeps one group (Limits.MaxGroups is 1).
//
// # On disk
//
// The group has a folder group-<id> in the data directory:
//
//	log_store                       what the log was made with: a line, "seglog" or "raft-wal"
//	log/                            seglog: see plugins/seglog and segment_log.go;
//	                                raft-wal: segments, and terms and votes in wal-meta.db
//	snapshots/<index>-<term>.snap   the newest snapshot, see snapshot_file.go
//	snapshots/*.tmp                 unfinished; removed at the next start
package hashicorpraft
