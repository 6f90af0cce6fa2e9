// Package interbroker sends requests to the other brokers of the cluster.
//
// A Pool keeps one connection for each broker and lane. Requests on a connection
// are pipelined; the broker answers them in order, so a lane is the unit of
// head-of-line blocking: what waits (a fetch) has a lane of its own. Connections
// are made when they are first needed and made again, after a pause, when they broke.
//
// Brokers of a cluster run the same release or neighbours, so each request has one
// pinned version (versions.go) instead of a negotiation.
//
// A Pool may be used concurrently.
package interbroker
