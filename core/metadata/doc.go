// Package metadata is the cluster's metadata as one replicated state machine:
// records are replayed into a delta, a delta becomes an immutable image, an
// image is published. The leader, a follower and a restart run the same code.
package metadata
