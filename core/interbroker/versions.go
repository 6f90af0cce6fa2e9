package interbroker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// pinned is the version of each request that brokers send to each other. Raising one
// needs two releases: the first takes it, the second sends it.
var pinned = map[kmsg.Key]int16{
	kmsg.Fetch:                      17, // topic ids, replica state with epoch (KIP-903)
	kmsg.ListOffsets:                7,
	kmsg.Metadata:                   12,
	kmsg.ApiVersions:                3,
	kmsg.CreateTopics:               7,
	kmsg.DeleteTopics:               6,
	kmsg.DeleteRecords:              2,
	kmsg.InitProducerID:             4,
	kmsg.OffsetForLeaderEpoch:       4,
	kmsg.AddPartitionsToTxn:         4,
	kmsg.WriteTxnMarkers:            1,
	kmsg.DescribeConfigs:            4,
	kmsg.AlterConfigs:               2,
	kmsg.IncrementalAlterConfigs:    1,
	kmsg.CreatePartitions:           3,
	kmsg.ElectLeaders:               2,
	kmsg.AlterPartitionAssignments:  0,
	kmsg.ListPartitionReassignments: 0,
	kmsg.DescribeQuorum:             2,
	kmsg.AlterPartition:             3,
	kmsg.UpdateFeatures:             1,
	kmsg.Envelope:                   0,
	kmsg.DescribeCluster:            2,
	kmsg.BrokerRegistration:         4,
	kmsg.BrokerHeartbeat:            1,
	kmsg.UnregisterBroker:           0,
	kmsg.AllocateProducerIDs:        0,
	kmsg.AddRaftVoter:               1,
	kmsg.RemoveRaftVoter:            0,
}

// pin sets the version of req. A request that is not in the table is a mistake in
// this program.
func pin(req kmsg.Request) error {
	version, ok := pinned[kmsg.Key(req.Key())]
	if !ok {
		return fmt.Errorf("%w: brokers do not send %s to each other", ErrUnreachable, kmsg.NameForKey(req.Key()))
	}
	req.SetVersion(version)
	return nil
}
