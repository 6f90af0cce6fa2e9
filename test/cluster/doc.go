// Package cluster holds the tests that a cluster has to pass on every consensus
// backend, with real processes: three nodes, kill -9 of brokers and plugins,
// restarts, and the promise that no acknowledged record is lost or doubled.
//
// TestChaos mistreats a cluster by a schedule drawn from a seed: processes killed,
// stopped and paused, links between nodes frozen, refused and reset. Its name and
// its seed repeat the faults, though not their timing to the microsecond.
//
// The tests have the build tag integration: `make integration`, and for longer
// `make soak` and `make chaos`.
package cluster
