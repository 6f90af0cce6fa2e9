// Package kit is the conformance kit: it forms clusters of one backend, does to
// them what networks, disks, kernels and operators do, and reports which rules of
// the package consensus held. One engine has two fronts: [InProcess] for backends
// in Go, under the race detector, and [Binary] for plugins in any language behind
// the real handshake.
//
// Every replica has a mini-host that applies the envelope rule and keeps a small
// state machine. Besides what a case looks for, everything that any host sees in
// any case is held against the rules that hold always: the same index holds the
// same entry everywhere and for ever, a term has one leader, nothing that was
// COMMITTED is lost, nothing that was REJECTED appears, terms do not fall.
//
// A [Case] names the rules that it judges. A [Report] has a result per rule; one
// that passed is worth a [Certificate]. What is random follows from the seed, as
// far as processes and networks let it.
//
// The kit has been tried on backends that are wrong on purpose; see the tests.
package kit
