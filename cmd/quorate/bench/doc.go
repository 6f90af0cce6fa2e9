// Package bench loads a Kafka cluster and measures what it makes of it. Produce,
// Consume and EndToEnd are the three workloads; Sink is a server that speaks the
// same protocol and acknowledges without storing, to know what the client and the
// network alone can do.
//
// Produce with a rate is an open loop: every record has an intended time, fixed
// before the run, and its latency counts from there, sent or not. A server that
// stalls is charged for every record that should have been sent meanwhile (the
// omission of which Gil Tene calls coordinated). Without a rate it is a closed loop
// that measures throughput; latencies are then those of requests.
//
// Produce sends batches that it builds itself, and in the closed loop batches that
// were built before the run, over the client library's connections: on a machine
// that the load generator shares with the server, a whole client would measure
// itself. Consume and EndToEnd read with the whole client library.
//
// Times are of one clock, the monotonic one of this process.
package bench
