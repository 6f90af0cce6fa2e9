// Package group is the group coordinator: consumer groups of the classic
// protocol and their committed offsets.
//
// A group lives on the partition of __consumer_offsets that its id hashes to,
// and is served by that partition's leader. What must survive is a record there,
// in Kafka's own format; the rest (who is joining, whose session runs until
// when) is memory and is rebuilt by the clients after a failover.
//
// The methods of Coordinator take and return kmsg types, one method for each
// API, and are safe for concurrent use. They block until the answer may be
// given (a rebalance is over, a commit is replicated) or their context ends.
package group
