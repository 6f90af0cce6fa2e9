// Package filecache keeps a bounded number of files open. A broker with ten thousand
// partitions has more segments than a process may have descriptors, and uses few of
// them at a time.
//
// A [File] is opened when it is first used. When more than the cache's limit are open,
// those that were not used for longest are closed, and opened again when they are
// needed. Whoever uses a file holds it open meanwhile: no operation and no [Handle]
// ever finds it closed under its hands.
//
// A file with writes that were not synced is synced before it is closed: the kernel
// may tell of a failed write only to who had the file open at the time. If that sync
// fails, the file stays open and answers the error to every write and sync from then
// on, so that its owner learns of it.
//
// Everything may be called concurrently.
package filecache
