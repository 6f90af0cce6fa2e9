// Package profiledraft is raft with one setting instead of many: a profile.
//
// It shows how a backend of one's own is made from a library, here Quorate's own
// etcdraft: it says who it is, translates its settings, passes on what it does not
// change, and forwards the abilities that the SDK finds by type assertion. A
// backend that embeds an interface and forgets those offers less than it says.
//
// Data of etcd-raft is refused by this backend, and the reverse, although the
// files are the same: META.json holds the name.
package profiledraft
