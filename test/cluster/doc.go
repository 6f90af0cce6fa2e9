// Package cluster holds the tests that a cluster has to pass on every consensus
// backend, with real processes: three nodes, kill -9 of brokers and plugins,
// restarts, and the promise that no acknowledged record is lost or doubled.
//
// The tests have the build tag integration: `make integration`.
package cluster
