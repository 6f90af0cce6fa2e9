package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// decision is the answer to a request, good once the records that the request
// has committed to the round are in the log.
type decision struct {
	resp    kmsg.Response
	err     error
	visible func(index uint64) // see reply
}

// decide is the list of what a controller decides.
func (r *round) decide(req kmsg.Request) (d decision) {
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		d.resp = r.createTopics(req)
	case *kmsg.DeleteTopicsRequest:
		d.resp = r.deleteTopics(req)
	case *kmsg.CreatePartitionsRequest:
		d.resp = r.createPartitions(req)
	case *kmsg.AlterPartitionAssignmentsRequest:
		d.resp = r.alterPartitionReassignments(req)
	case *kmsg.UnregisterBrokerRequest:
		d.resp = r.unregisterBroker(req)
	case *kmsg.IncrementalAlterConfigsRequest:
		d.resp = r.incrementalAlterConfigs(req)
	case *kmsg.AlterConfigsRequest:
		d.resp = r.alterConfigs(req)
	case *kmsg.BrokerRegistrationRequest:
		d = r.registerBroker(req)
	case *kmsg.BrokerHeartbeatRequest:
		d.resp = r.heartbeat(req)
	case *kmsg.AlterPartitionRequest:
		d.resp = r.alterPartition(req)
	case *kmsg.AddRaftVoterRequest:
		d.resp = r.reserveReplica(req)
	case *kmsg.AllocateProducerIDsRequest:
		d.resp = r.allocateProducerIDs(req)
	default:
		d.err = protocol.Errorf(protocol.InvalidRequest, "the controller does not decide %s", kmsg.NameForKey(req.Key()))
	}
	if d.resp != nil {
		d.resp.SetVersion(req.GetVersion())
	}
	return d
}

// result is an error as responses hold it.
func result(err error) (code int16, message *string) {
	return int16(protocol.CodeOf(err)), protocol.MessageOf(err)
}

// brokerOfEpoch returns a broker if the epoch is that of its registration.
func brokerOfEpoch(d *metadata.Delta, id int32, epoch int64) (*metadata.Broker, error) {
	b, ok := d.Broker(id)
	if !ok {
		return nil, protocol.Errorf(protocol.BrokerIDNotRegistered, "broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, protocol.Errorf(protocol.StaleBrokerEpoch, "broker %d has epoch %d, not %d", id, b.Epoch, epoch)
	}
	return b, nil
}

// up tells whether a broker may lead and be in sync.
func up(d *metadata.Delta, id int32) bool {
	b, ok := d.Broker(id)
	return ok && !b.Fenced && !b.InControlledShutdown
}
