// Package ring is a commit log: frames of many owners, written one after the other
// to a few files that are used again and again. It knows frames, not partitions.
//
// A [Round] collects frames; Commit writes all of them with one write and makes
// them durable with one fdatasync. A round begins at a multiple of 4096 bytes and
// is padded to one, so bytes that were committed are never written again, and a
// sector that a power cut tears holds nothing that was.
//
// The files have been written before they are used: then an append changes no
// metadata of the file system, which halves what a sync costs on ext4 (fallocate
// does not help there). They are made when they are needed, each twice as large as
// the one before, up to Config.SegmentBytes each and Config.SizeBytes together.
//
// Order of use: [Open], Replay (as often as wanted), Begin, then Commit. Replay gives
// what was committed since the last Checkpoint. Commit is one goroutine's at a time;
// Prepare, Checkpoint and what is marked so may run beside it. After an error of
// Commit nothing may be committed any more: what the kernel could not write is lost
// although a second fdatasync would succeed.
//
// Promises, on a disk that keeps what was synced: Replay gives every frame of every
// Commit that returned nil, in order and once, then perhaps frames of the one Commit
// that was under way, a prefix of them. If a frame is damaged that had been durable,
// and this can be proven, Replay refuses with a [*DamageError].
//
// docs/formats/commit-log.md has the bytes.
package ring
