// Package seglog is a write-ahead log for the consensus groups of one process:
// entries, hard states and snapshot marks of all groups go into one sequence of
// segment files, so that a batch of many groups costs one write and one
// fdatasync.
//
// # What it promises
//
// When [Log.Append] with sync returns nil, every record of this call and of all
// calls before it is on stable storage. After a crash the log holds a prefix of
// what was appended, and that prefix contains at least everything synced. After
// a failed write or sync the log is failed for ever: nothing is retried, and
// every later call returns an error that wraps [consensus.ErrStorageFailed].
//
// All methods may be called concurrently. Append takes ownership of the byte
// slices that it is given; what the readers return is shared with the log and
// must not be changed.
//
// # Files
//
//	0000000000000001.seg   a segment; the number, in hex, is its sequence
//	spare-00000003         a file of segment size, zero-filled or used before
//
// A segment that was not made from a spare grows by zeros, 256 KiB at a time.
//
// A segment:
//
//	+--------------------------------------------------------------+
//	| magic "QSEGLOG1" 8 | version u32 | crc32c u32 | sequence u64 |  24 bytes
//	+--------------------------------------------------------------+
//	| base record of every group                                   |
//	| records …                                                    |
//	| four zero bytes            (at the end of what was written)  |
//	| end record                 (all segments but the last)       |
//	| zeros, or older records of a file that is used again         |
//	+--------------------------------------------------------------+
//
// A record, integers little endian:
//
//	 0       4        8          12     13     14       22       30       38
//	+-------+--------+----------+------+------+--------+--------+--------+------+
//	| len   | crc32c | synced   | kind | type | group  | index  | term   | data |
//	| u32   | u32    | u32      | u8   | u8   | u64    | u64    | u64    |      |
//	+-------+--------+----------+------+------+--------+--------+--------+------+
//
// len counts the bytes after crc32c. The checksum covers the segment's sequence
// (8 bytes), then everything after itself: a record left over from an earlier
// use of the file never matches. synced is the offset in this segment up to
// which the log was known to be on stable storage when the record was written.
//
//	kind      index             term            data
//	entry     the entry's       the entry's     the entry's; type is the caller's
//	state     commit index      term            vote u64
//	mark      the snapshot's    the snapshot's  compacted index u64, its term u64, the caller's bytes;
//	                                            type 1 drops the whole log, 0 up to the compacted index
//	truncate  first one dropped –               –
//	delete    –                 –               –
//	base      last index        –               term, vote, commit u64; the mark as above with its index, term
//	end       –                 –               –
//
// # What is synced when
//
// A new segment is written and synced under its spare name, renamed, and the
// directory is synced, before anything is appended to it; the segment before it
// has got its end record and has been synced before that. A segment is given up
// when no live entry is left in it, after the sync that made that durable; the
// base records at the head of every later segment stand in for what it said.
//
// # Recovery
//
//  1. Read all segments in order; sequences have no gap.
//  2. Apply record after record; entries follow each other without a gap, a
//     truncate record goes before those that replace others.
//  3. A record that is damaged in the last segment is a torn tail: the file is
//     cut there, unless a later record of the segment says that this place had
//     been synced. Damage anywhere else, and an entry that is missing between the
//     compacted index and the last one, is an error that wraps
//     [consensus.ErrStorageFailed] and names file and offset.
//
// Damage to the very last batch cannot be told from a torn write.
package seglog
