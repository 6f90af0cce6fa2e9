package hashicorpraft

import (
	"slices"

	"github.com/hashicorp/raft"
)

// configuration is the members as an entry of the log has them.
type configuration struct {
	raft.Configuration
	index uint64
}

// configurations are those in the log and the newest snapshot, ascending. The
// library tells the newest, but not its index, and not the ones before it: a
// snapshot needs the one that was in force at its position.
//
// Guarded by store.mu.
type configurations []configuration

// append takes the configurations among logs.
func (c *configurations) append(logs []*raft.Log) {
	for _, l := range logs {
		if l.Type == raft.LogConfiguration {
			*c = append(*c, configuration{raft.DecodeConfiguration(l.Data), l.Index})
		}
	}
}

// cut forgets those from index on.
func (c *configurations) cut(index uint64) {
	*c = slices.DeleteFunc(*c, func(one configuration) bool { return one.index >= index })
}

// start replaces what came before the snapshot at index by what the snapshot has.
func (c *configurations) start(first configuration, index uint64) {
	later := slices.DeleteFunc(slices.Clone(*c), func(one configuration) bool { return one.index <= index })
	*c = append(configurations{first}, later...)
}

// at returns the one that is in force at index.
func (c configurations) at(index uint64) configuration {
	for _, one := range slices.Backward(c) {
		if one.index <= index {
			return one
		}
	}
	return configuration{}
}
