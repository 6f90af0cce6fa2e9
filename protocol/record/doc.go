// Package record reads and writes Kafka's record batches, format v2 (magic 2),
// the form in which records travel on the wire and lie on disk.
//
// A [Batch] is a view over bytes that somebody else owns; its accessors decode
// one field each and copy nothing. The broker stores batches as it received
// them: the only fields it ever writes are the base offset and the partition
// leader epoch, which lie outside the CRC; the max timestamp where a producer did
// not tell the truth; and on topics with LogAppendTime that and one attribute bit.
//
// What comes from a network or a disk goes through [Validate] (or [Next] and
// [Batch.CheckCRC]) before any accessor other than those is used: the accessors
// themselves trust that the header is there. Validate reads the header and runs
// one CRC over the bytes. What producers send also goes through
// [Batch.CheckRecords], which reads every record and decompresses on the way, so
// that nothing is stored that a consumer cannot read; those who iterate over
// [Batch.Records] stay within [DecompressLimits] as well.
//
// [Builder] makes the batches that the broker itself writes.
//
// Nothing here has state: all functions may be called concurrently as long as
// nobody writes to the bytes meanwhile.
package record
