package controller

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

const (
	// pressureGrace is how long the backend may push back before requests are
	// refused: a burst that it digests is no reason to.
	pressureGrace = 100 * time.Millisecond
	// minThrottle and maxThrottle bound what a client is told to wait. Kafka's
	// bound is the length of its quota's window, a second by default.
	minThrottle = 10 * time.Millisecond
	maxThrottle = time.Second
)

// pressure is since when the metadata log takes proposals slower than they come:
// the backend answers OVERLOADED. It may be used concurrently.
type pressure struct {
	since atomic.Int64 // Unix nanoseconds; 0 = it takes them
}

// note says that a proposal was pushed back, and reports whether it is the first.
func (p *pressure) note(now time.Time) (first bool) { return p.since.CompareAndSwap(0, now.UnixNano()) }

// ease says that a proposal was taken, and reports whether there was pressure.
func (p *pressure) ease() bool { return p.since.Swap(0) != 0 }

// lasts is for how long the backend has pushed back.
func (p *pressure) lasts(now time.Time) time.Duration {
	since := p.since.Load()
	if since == 0 {
		return 0
	}
	return max(now.Sub(time.Unix(0, since)), 1)
}

// throttle is what a client is told to wait whose request was held back for d.
func throttle(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return min(max(d, minThrottle), maxThrottle)
}

// slowDown writes into the answer to a client how long it was held back; brokers
// are not told to wait.
func slowDown(resp kmsg.Response, held time.Duration) {
	if resp == nil || isDirect(resp.RequestKind()) {
		return
	}
	if r, ok := resp.(kmsg.SetThrottleResponse); ok && held > 0 {
		r.SetThrottle(int32(throttle(held).Milliseconds()))
	}
}

// throttled is the answer to a request that is not taken because too many wait: each
// of its topics gets THROTTLING_QUOTA_EXCEEDED. It is nil for requests, and
// versions of them, that do not know the code (KIP-599): they wait.
func throttled(req kmsg.Request) kmsg.Response {
	code, message := result(protocol.Errorf(protocol.ThrottlingQuotaExceeded,
		"the metadata log does not take changes as fast as they come; nothing was changed, try again after throttle_time_ms"))
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		if req.Version < 6 {
			return nil
		}
		resp := kmsg.NewPtrCreateTopicsResponse()
		for _, t := range req.Topics {
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code, message
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	case *kmsg.DeleteTopicsRequest:
		if req.Version < 5 {
			return nil
		}
		resp := kmsg.NewPtrDeleteTopicsResponse()
		for _, name := range req.TopicNames {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = &name, code, message
			resp.Topics = append(resp.Topics, out)
		}
		for _, t := range req.Topics {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.TopicID, out.ErrorCode, out.ErrorMessage = t.Topic, t.TopicID, code, message
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	case *kmsg.CreatePartitionsRequest:
		if req.Version < 3 {
			return nil
		}
		resp := kmsg.NewPtrCreatePartitionsResponse()
		for _, t := range req.Topics {
			out := kmsg.NewCreatePartitionsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code, message
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	return nil
}

// refuse returns the answer to a request that is not taken, with how long to wait;
// nil takes it.
func (t *term) refuse(req kmsg.Request, now time.Time) kmsg.Response {
	held := t.pressure.lasts(now)
	if len(t.mailbox) < cap(t.mailbox) && held < pressureGrace {
		return nil
	}
	resp := throttled(req)
	if resp != nil {
		resp.SetVersion(req.GetVersion())
		slowDown(resp, max(held, pressureGrace))
	}
	return resp
}
