// Package server owns the sockets of a broker: listeners, TLS, frames, limits,
// and the order of the answers.
//
// Each connection has a reader and a writer goroutine, joined by a bounded ring
// of Config.MaxInflight answers. The reader begins requests in the order in which
// they came; the writer waits for and sends the answers in the same order. What
// must happen in order (an append) therefore happens in Handler.Begin, and what
// waits (replication, a long poll) in the Answer that Begin returns.
//
// New checks the configuration, Listen binds, Run serves until its context ends.
// All methods of Server may be called concurrently.
package server
