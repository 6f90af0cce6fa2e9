// Package snapshot has what backends do with the snapshots of a group, whatever
// their consensus: [Store] keeps the newest one in a file that is whole or not
// there (rule S4), [Wish] decides when the host is asked for one (rule S6).
//
// # The file
//
//	0000000000000002-00000000000003e8.snap   the snapshot of term 2 at index 1000
//	*.tmp                                    a draft; removed at the next start
//
//	+-------------------------------------------------------------------------+
//	| magic "QSNAPF01" 8 | index u64 | term u64 | size of format u16 | format |
//	| crc32c u32 of all that                                                  |
//	| content: the host's bytes …                                             |
//	| SHA-256 of all before it, 32 bytes                                      |
//	+-------------------------------------------------------------------------+
//
// Integers are little endian. A snapshot is written to a draft, which is synced
// and renamed, and the folder is synced; only then are older ones removed.
//
// # Recovery
//
//  1. Drafts are removed: they never counted.
//  2. The file with the highest index is the newest snapshot. One that is shorter
//     than its head and checksum, or has another name than its head says, is damage:
//     ErrStorageFailed.
//  3. The others are removed: a crash has kept them.
//
// The content is checked when it is read, and a reader never ends well with bytes
// that are not those that were stored.
package snapshot
