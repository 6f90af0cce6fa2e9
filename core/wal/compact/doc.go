// Package compact decides what stays of a log of which only the newest record of
// every key must: Kafka's cleanup.policy=compact. It sees batches one after the
// other, twice, and knows nothing of files: [Pass.Collect] remembers the newest
// offsets of the dirty part, then [Pass.Filter] goes over all of it from the start.
//
// What it promises (https://kafka.apache.org/documentation/#compaction):
//   - the newest record of a key stays, its offset and timestamp too;
//   - order does not change; an offset is never given to another record;
//   - a tombstone, a record without a value, stays for delete.retention.ms after
//     the first pass that met it, so that a consumer that reads from the start
//     within that time sees it (KIP-534);
//   - a tombstone goes only together with every older record of its key: a deleted
//     key never comes back;
//   - the last batch of a producer stays, empty if need be, so that its sequence
//     numbers survive.
package compact
