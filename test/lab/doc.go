// Package lab runs clusters of real quorate processes on this machine, breaks
// them on purpose and checks what clients were promised: every node is the real
// binary with a config file of its own, on loopback, with its own data directory.
//
// A Cluster's methods may be called concurrently; those of one Node may not.
package lab
