// Package sdk makes a plugin process out of a consensus.Backend. A backend's
// main is
//
//	func main() { sdk.Serve(mybackend.New()) }
//
// and the SDK does what is the same for every backend: the handshake with the
// host, the lock on the data directory and the check of whose data it is, the
// streams, windows and sequences of proposals, delivery from the log on demand,
// snapshots in chunks with a checksum, logs that survive a dead host, the watch
// for the host's death, and the exit codes.
//
// [Server] is the same without a process around it. Tests reach it through
// host.InProcess.
package sdk
