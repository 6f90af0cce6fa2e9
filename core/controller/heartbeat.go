package controller

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
)

// noteHeartbeat notes that a broker is alive, and answers at once if there is
// nothing to decide, which is nearly always. It returns nil if there is. It is
// called from any goroutine: a proposal under way must not make brokers look dead.
func (t *term) noteHeartbeat(req *kmsg.BrokerHeartbeatRequest, now time.Time) kmsg.Response {
	b, ok := t.c.images.Current().Broker(req.BrokerID)
	if !ok || b.Epoch != req.BrokerEpoch {
		return nil
	}
	t.live.hear(b.ID, now)
	if b.Fenced || b.InControlledShutdown || req.WantFence || req.WantShutdown {
		return nil
	}
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.SetVersion(req.Version)
	resp.IsCaughtUp, resp.IsFenced = true, false
	return resp
}

// heartbeat answers BrokerHeartbeat (key 63, KIP-631).
//
// A fenced broker is let in once it has applied its own registration and does
// not want to stay out. A broker that wants to shut down loses its leaderships
// and its place in ISRs first; when it has none left it is fenced, and may go.
func (r *round) heartbeat(req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	b, err := brokerOfEpoch(r.delta, req.BrokerID, req.BrokerEpoch)
	if err == nil {
		r.t.live.hear(b.ID, r.now)
		resp.IsCaughtUp = req.CurrentMetadataOffset >= 0 && uint64(req.CurrentMetadataOffset) >= r.t.caughtUpAt(b.ID)
		err = r.commitState(b, req, resp.IsCaughtUp)
	}
	resp.ErrorCode, _ = result(err)
	if b, ok := r.delta.Broker(req.BrokerID); ok {
		resp.IsFenced = b.Fenced
		resp.ShouldShutdown = err == nil && req.WantShutdown && b.Fenced
	}
	return resp
}

// commitState moves the broker to the state that its heartbeat leads to.
func (r *round) commitState(b *metadata.Broker, req *kmsg.BrokerHeartbeatRequest, caughtUp bool) error {
	change := metadata.BrokerChangeRecord{ID: b.ID, Epoch: b.Epoch}
	switch {
	case req.WantShutdown && !b.InControlledShutdown:
		change.InControlledShutdown = new(true)
	case !req.WantShutdown && !b.Fenced && req.WantFence:
		change.Fenced = new(true)
	case b.Fenced && !b.InControlledShutdown && caughtUp && !req.WantFence:
		change.Fenced = new(false)
		r.t.c.log.Info("broker unfenced", "broker", b.ID, "epoch", b.Epoch)
	}
	if change.Fenced != nil || change.InControlledShutdown != nil {
		if err := r.commit(change); err != nil {
			return err
		}
	}
	if !req.WantShutdown || b.Fenced {
		return nil
	}
	r.repairAll()
	r.t.c.log.Info("broker leaves", "broker", b.ID, "epoch", b.Epoch)
	return r.commit(metadata.BrokerChangeRecord{ID: b.ID, Epoch: b.Epoch, Fenced: new(true)})
}

// caughtUpAt is the index that a broker must have applied to be let in: that of
// its registration, or, if an earlier controller registered it, of the beginning
// of this term, which is behind it.
func (t *term) caughtUpAt(id int32) uint64 {
	if index, ok := t.registered[id]; ok {
		return index
	}
	return t.readyIndex
}
