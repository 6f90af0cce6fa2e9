// Package consensus is the contract between the broker and a consensus
// backend. It is the only package that both sides read, and it imports neither
// of them: no gRPC, no go-plugin, nothing of the broker.
//
// # What a backend is
//
// A backend keeps one or more replicated logs, called groups, each with its own
// leader and terms, and a snapshot per group. It owns the log, the votes, the
// snapshot files and the traffic to its peers. It never interprets a byte of
// what it replicates: the state machine belongs to the broker.
//
// An author in Go implements [Backend] and [Group] and hands them to
// consensus/sdk.Serve; an author in another language implements the service in
// consensuspb/consensus.proto. The broker sees either through [Client].
//
// # What the broker relies on
//
// The rules are named, and the conformance kit reports by name:
//
//	T1  a group's term never decreases on a replica, restarts included
//	T2  at most one replica leads in a term
//	T3  a restarted process never leads in a term it led in an earlier life
//	T4  LeaderReady only after an entry of that term is committed
//	T5  a leader without its quorum steps down within two election timeouts
//	T6  leadership is reported by level: the last state and a higher term are never skipped
//	P1  an entry is appended only by the leader of the expected term
//	P2  per group and term in sequence order, without gaps
//	P3  exactly one outcome per proposal; REJECTED means never appended, anywhere
//	P4  proposals are neither forwarded nor retried by the backend
//	D1  only committed entries are delivered, and only when durable here
//	D2  indexes are dense and ascending, internal entries included
//	D3  the same index holds the same term and data on every replica, for ever
//	D5  a position that was compacted away yields the snapshot first
//	S1  votes, terms and entries are on stable storage before they count
//	S2  after a failed write or sync of log or vote the process exits, 74
//	S3  a torn tail is cut; damage elsewhere is refused, 74
//	S4  a snapshot becomes visible whole or not at all
//	S5  entries above the newest snapshot are never dropped
//	L2  a data directory is locked, and refused if it is another's
//
// # Exactly once, whatever the backend
//
// The broker does not trust a backend to append a proposal once. Every proposal
// is wrapped in an [Envelope] {expected term, sequence, payload}, and every
// broker admits a delivered entry only through a [Gate]: an entry counts if its
// own term is the expected one and its sequence is the next. A proposal that is
// appended late, twice or after a gap is void, identically on every replica.
//
// An outcome is therefore [Committed], [Rejected] or [Unknown], and unknown is
// resolved by watching: once an entry of a higher term has been delivered, a
// proposal of the lower term that was not delivered before it never will be.
package consensus
