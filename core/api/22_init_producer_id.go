package api

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// initProducerID answers InitProducerId (key 22), v0 to v5, for idempotent
// producers: every request gets a new id with epoch 0. A transactional id is
// refused.
//
// Anything that hinders the allocation is COORDINATOR_LOAD_IN_PROGRESS, which
// producers retry.
func (a *API) initProducerID(ctx context.Context, _ *Session, req *kmsg.InitProducerIDRequest) (*kmsg.InitProducerIDResponse, error) {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if req.TransactionalID != nil {
		resp.ErrorCode = int16(protocol.InvalidRequest)
		a.log.Warn("transactional producer refused: transactions are not served by this version", "transactional_id", *req.TransactionalID)
		return resp, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	id, err := a.ids.take(ctx)
	if err != nil {
		a.log.Warn("no producer id", "error", err)
		resp.ErrorCode = int16(protocol.CoordinatorLoadInProgress)
		return resp, nil
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp, nil
}

// allocateProducerIDs asks the controller for a block.
func (a *API) allocateProducerIDs(ctx context.Context) (first int64, count int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID = a.cfg.BrokerID
	req.BrokerEpoch = -1
	if b, ok := a.images.Current().Broker(a.cfg.BrokerID); ok {
		req.BrokerEpoch = b.Epoch
	}
	resp, err := a.controller.Do(ctx, req)
	if err != nil {
		return 0, 0, fmt.Errorf("allocate producer ids: %w", err)
	}
	block, ok := resp.(*kmsg.AllocateProducerIDsResponse)
	if !ok {
		return 0, 0, fmt.Errorf("allocate producer ids: answered with %T", resp)
	}
	if block.ErrorCode != 0 {
		return 0, 0, protocol.Errorf(protocol.ErrorCode(block.ErrorCode), "allocate producer ids")
	}
	if block.ProducerIDLen <= 0 {
		return 0, 0, fmt.Errorf("allocate producer ids: got a block of %d", block.ProducerIDLen)
	}
	return block.ProducerIDStart, block.ProducerIDLen, nil
}
