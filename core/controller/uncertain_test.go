package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/protocol"
)

func createRequest(name string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}
	return req
}

// try asks the controller of node 1, past Client's retries.
func (c *cluster) try(ctx context.Context, name string) error {
	resp, index, err := c.node[1].controller.Handle(ctx, createRequest(name))
	if err != nil {
		return err
	}
	out := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if out.ErrorCode != 0 {
		return protocol.Errorf(protocol.ErrorCode(out.ErrorCode), "%s", *out.ErrorMessage)
	}
	if c.node[1].images.Current().Index < index {
		return errors.New("answered before it was visible")
	}
	return nil
}

func (c *cluster) topics() (n int) {
	for range c.node[1].images.Current().Topics() {
		n++
	}
	return n
}

func TestUnknownOutcomes(t *testing.T) {
	tests := []struct {
		name   string
		fault  consensustest.Fault
		within time.Duration // of the answer without a new term; 0: it needs one
		want   protocol.ErrorCode
		topics int
	}{
		{name: "but committed", fault: consensustest.UnknownCommitted, within: time.Second, topics: 1},
		{name: "and lost", fault: consensustest.UnknownLost, want: protocol.NotController},
		{name: "overloaded, then committed", fault: consensustest.RejectedOverloaded, within: time.Second, topics: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				c.log.Elect(1, 1)
				c.allIn()
				c.log.NextOutcome(tt.fault)
				got := make(chan error, 1)
				go func() { got <- c.try(t.Context(), "orders") }()
				if tt.within == 0 {
					time.Sleep(time.Minute)
					synctest.Wait()
					select {
					case err := <-got:
						t.Fatalf("answered %v before the outcome was known", err)
					default:
					}
					c.log.Elect(1, 2)
				}
				if err := <-got; protocol.CodeOf(err) != tt.want {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if n := c.topics(); n != tt.topics {
					t.Errorf("%d topics, want %d", n, tt.topics)
				}
				c.node[1].mustCreate("after", 1, 1) // and it decides again
			})
		})
	}
}

func TestNothingIsDecidedOnAnUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		c.log.NextOutcome(consensustest.UnknownLost)
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.try(t.Context(), "orders") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { second <- c.try(ctx, "orders") }()
		if err := <-second; protocol.CodeOf(err) != protocol.RequestTimedOut {
			t.Errorf("the second got %v", err)
		}
		if c.node[1].registration.Fenced() {
			t.Error("heartbeats wait for the proposal")
		}
		c.log.Depose()
		synctest.Wait()
		if err := c.try(t.Context(), "x"); protocol.CodeOf(err) != protocol.NotController {
			t.Errorf("deposed and unresolved, it answers %v", err)
		}
		c.log.Elect(1, 2)
		if err := <-first; protocol.CodeOf(err) != protocol.NotController {
			t.Errorf("the first got %v", err)
		}
	})
}

func TestDeposedInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.log.Hold()
		results := make(chan error, 20)
		for n := range 20 {
			go func() { results <- c.try(t.Context(), fmt.Sprint("t", n)) }()
		}
		synctest.Wait() // one proposal waits with what came first, the rest gathers
		c.log.Elect(2, 2)
		c.log.Release()
		for range 20 {
			if err := <-results; protocol.CodeOf(err) != protocol.NotController {
				t.Errorf("got %v", err)
			}
		}
		c.eventually("the new controller is at work", time.Second, func() bool {
			out, err := c.node[1].create(t.Context(), "t0", 1, 3)
			return err == nil && (out.ErrorCode == 0 || protocol.ErrorCode(out.ErrorCode) == protocol.TopicAlreadyExists)
		})
		if n := c.topics(); n != 1 {
			t.Errorf("%d topics", n)
		}
	})
}

func TestManyCreatesTakeFewProposals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(2, 1)
		c.allIn()
		before := len(c.log.Entries())
		c.log.Hold()
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				if out, err := c.node[int32(n%3+1)].create(t.Context(), fmt.Sprint("t", n), 3, 3); err != nil || out.ErrorCode != 0 {
					t.Errorf("topic %d: %v, %v", n, protocol.ErrorCode(out.ErrorCode), err)
				}
			})
		}
		synctest.Wait()
		c.log.Release()
		wg.Wait()
		if n := len(c.log.Entries()) - before; n > 3 {
			t.Errorf("%d proposals", n)
		}
		if n := c.topics(); n != 100 {
			t.Errorf("%d topics", n)
		}
	})
}

func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.log.Elect(1, 1)
		c.allIn()
		c.mu.Lock()
		c.lost = 1
		c.mu.Unlock()
		// The one that is lost may be a heartbeat's; ask until it was a create's.
		for n := 0; ; n++ {
			c.mu.Lock()
			c.lost = 1
			c.mu.Unlock()
			_, err := c.node[2].create(t.Context(), fmt.Sprint("t", n), 1, 1)
			if err == nil {
				continue
			}
			if protocol.CodeOf(err) != protocol.RequestTimedOut {
				t.Errorf("a lost answer is %v", err)
			}
			synctest.Wait()
			if got := c.topics(); got != n+1 {
				t.Errorf("%d topics after %d requests: a creation was repeated or undone", got, n+1)
			}
			break
		}
		c.mu.Lock()
		c.lost = 3
		c.mu.Unlock()
		ids := kmsg.NewPtrAllocateProducerIDsRequest()
		ids.BrokerID, ids.BrokerEpoch = 2, c.node[2].registration.Epoch()
		resp, err := c.node[2].client.Do(t.Context(), ids)
		if err != nil || resp.(*kmsg.AllocateProducerIDsResponse).ProducerIDLen != 1000 {
			t.Errorf("producer ids: %+v, %v", resp, err)
		}
	})
}

func TestNoControllerAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.node[1].create(ctx, "orders", 1, 1); protocol.CodeOf(err) != protocol.RequestTimedOut {
			t.Errorf("got %v", err)
		}
		if err := c.try(t.Context(), "orders"); protocol.CodeOf(err) != protocol.NotController {
			t.Errorf("got %v", err)
		}
	})
}

func TestEnvelopeLetsOnlyClientsRequestsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		alter := kmsg.NewPtrAlterPartitionRequest()
		alter.SetVersion(3)
		bad := []*kmsg.EnvelopeRequest{seal(alter), {RequestData: []byte("rubbish")}, {}}
		for _, e := range bad {
			if got := c.node[1].client.HandleForwarded(t.Context(), e); protocol.ErrorCode(got.ErrorCode) != protocol.InvalidRequest {
				t.Errorf("got %v", protocol.ErrorCode(got.ErrorCode))
			}
		}
	})
}

func TestPlentyOfPartitionsSurviveTheirBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		for n := range 8 { // more changes than a proposal holds
			c.node[1].mustCreate(fmt.Sprint("t", n), 2000, 3)
		}
		c.kill(2)
		c.eventually("broker 2 is in no isr", 2*time.Second, func() bool {
			for topic := range c.node[1].images.Current().Topics() {
				for _, p := range topic.Partitions {
					if p.Leader == 2 || len(p.ISR) != 2 {
						return false
					}
				}
			}
			return true
		})
		for _, e := range c.log.Entries() {
			if len(e.Data) > 512<<10 {
				t.Errorf("a proposal of %d bytes", len(e.Data))
			}
		}
		if b, _ := c.node[1].images.Current().Broker(3); b.Fenced {
			t.Error("broker 3 was fenced meanwhile")
		}
	})
}
