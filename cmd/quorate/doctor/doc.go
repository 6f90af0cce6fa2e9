// Package doctor finds out why a consensus plugin does not come up, and says it in
// words, each with the way to mend it. It speaks the handshake itself, one step
// after the other, where the broker's own library only says that it failed.
//
// It knows nothing of gRPC: the last step, a real Describe, is its caller's.
package doctor
