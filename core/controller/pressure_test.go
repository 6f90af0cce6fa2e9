package controller

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/protocol"
)

// refuse makes the backend answer OVERLOADED so often.
func (c *cluster) refuse(times int) {
	for range times {
		c.log.NextOutcome(consensustest.RejectedOverloaded)
	}
}

func (n *node) do(ctx context.Context, req kmsg.Request) *kmsg.CreateTopicsResponse {
	n.c.t.Helper()
	resp, err := n.client.Do(ctx, req)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return resp.(*kmsg.CreateTopicsResponse)
}

// A request that the backend holds back is answered with how long it was held
// back, also when it came by way of another broker.
func TestHeldBackRequestsAreSlowedDown(t *testing.T) {
	for _, by := range []int32{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 2)
			c.log.Elect(1, 1)
			c.allIn()
			if resp := c.node[by].do(t.Context(), createRequest("before")); resp.ThrottleMillis != 0 {
				t.Errorf("by %d: throttle_time_ms is %d without a reason", by, resp.ThrottleMillis)
			}
			c.refuse(5)
			resp := c.node[by].do(t.Context(), createRequest("held"))
			if got, want := resp.ThrottleMillis, int32(50); got != want || resp.Topics[0].ErrorCode != 0 {
				t.Errorf("by %d: throttle_time_ms is %d, code %d, want %d and 0", by, got, resp.Topics[0].ErrorCode, want)
			}
			if resp := c.node[by].do(t.Context(), createRequest("after")); resp.ThrottleMillis != 0 {
				t.Errorf("by %d: throttle_time_ms is %d after the pressure", by, resp.ThrottleMillis)
			}
		})
	}
}

// While the backend goes on refusing, a client that knows the code is refused at
// once, and nothing of what it asked for happens; an older one waits.
func TestLastingPressureRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		c.refuse(300) // three seconds
		first := make(chan *kmsg.CreateTopicsResponse, 1)
		go func() { first <- c.node[1].do(t.Context(), createRequest("first")) }()
		time.Sleep(500 * time.Millisecond)

		begun := time.Now()
		refused := c.node[1].do(t.Context(), createRequest("refused"))
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v to refuse", took)
		}
		if code := protocol.ErrorCode(refused.Topics[0].ErrorCode); code != protocol.ThrottlingQuotaExceeded || refused.ThrottleMillis < 100 || refused.ThrottleMillis > 1000 {
			t.Errorf("got %v with throttle_time_ms %d", code, refused.ThrottleMillis)
		}
		if c.node[1].registration.Fenced() {
			t.Error("heartbeats are refused too")
		}
		old := createRequest("old")
		old.SetVersion(5)
		waited := c.node[1].do(t.Context(), old)
		if waited.Topics[0].ErrorCode != 0 {
			t.Errorf("a version that does not know the code got %d", waited.Topics[0].ErrorCode)
		}
		if got := (<-first).ThrottleMillis; got != int32(maxThrottle.Milliseconds()) {
			t.Errorf("throttle_time_ms is %d, want %v", got, maxThrottle)
		}
		if n := c.topics(); n != 2 {
			t.Errorf("%d topics, want the two that were not refused", n)
		}
		c.node[1].mustCreate("refused", 1, 1) // and is welcome now
	})
}

// A full mailbox refuses as well.
func TestFullMailboxRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		c.log.Hold()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		// One round flies, the next waits, and the mailbox is full.
		deleteNothing := func() {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.SetVersion(4)
			req.TopicNames = []string{"none"}
			_, _ = c.node[1].client.Do(ctx, req)
		}
		go func() { _, _ = c.node[1].create(ctx, "first", 1, 1) }()
		synctest.Wait()
		for range maxWaiting + mailboxLength {
			go deleteNothing()
		}
		synctest.Wait()
		resp := c.node[1].do(ctx, createRequest("refused"))
		if code := protocol.ErrorCode(resp.Topics[0].ErrorCode); code != protocol.ThrottlingQuotaExceeded || resp.ThrottleMillis == 0 {
			t.Errorf("got %v with throttle_time_ms %d", code, resp.ThrottleMillis)
		}
		c.log.Release()
		synctest.Wait()
		c.node[1].mustCreate("after", 1, 1)
	})
}

func TestThrottledKnowsWhoUnderstands(t *testing.T) {
	topics := kmsg.NewPtrDeleteTopicsRequest()
	topics.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: [16]byte{7}}}
	partitions := kmsg.NewPtrCreatePartitionsRequest()
	partitions.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "a"}}
	for _, tt := range []struct {
		req   kmsg.Request
		first int16 // version that knows the code; -1: none does
	}{
		{createRequest("a"), 6},
		{topics, 5},
		{partitions, 3},
		{kmsg.NewPtrIncrementalAlterConfigsRequest(), -1},
		{kmsg.NewPtrAlterPartitionRequest(), -1},
		{kmsg.NewPtrBrokerHeartbeatRequest(), -1},
	} {
		for v := range tt.req.MaxVersion() + 1 {
			tt.req.SetVersion(v)
			if got, want := throttled(tt.req) != nil, tt.first >= 0 && v >= tt.first; got != want {
				t.Errorf("%s v%d: refused %v, want %v", kmsg.NameForKey(tt.req.Key()), v, got, want)
			}
		}
	}
}
