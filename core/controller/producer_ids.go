package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
)

// producerIDBlock is how many producer ids a broker gets at a time. A broker that
// restarts throws the rest of its block away.
const producerIDBlock = 1000

// allocateProducerIDs answers AllocateProducerIDs (key 67, KIP-730).
func (r *round) allocateProducerIDs(req *kmsg.AllocateProducerIDsRequest) *kmsg.AllocateProducerIDsResponse {
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	start := r.delta.NextProducerID()
	_, err := brokerOfEpoch(r.delta, req.BrokerID, req.BrokerEpoch)
	if err == nil {
		err = r.commit(metadata.ProducerIDsRecord{BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch, NextProducerID: start + producerIDBlock})
	}
	if err != nil {
		resp.ErrorCode, _ = result(err)
		return resp
	}
	resp.ProducerIDStart, resp.ProducerIDLen = start, producerIDBlock
	return resp
}
