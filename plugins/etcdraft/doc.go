// Package etcdraft is the consensus backend "etcd-raft": go.etcd.io/raft's
// RawNode over the segment log of plugins/seglog and a transport of its own.
package etcdraft
