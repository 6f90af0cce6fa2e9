package core_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/protocol"
)

// pushBack makes the metadata log refuse so many proposals: each is tried again
// after ten milliseconds.
func (b *testBroker) pushBack(times int) {
	for range times {
		b.log.NextOutcome(consensustest.RejectedOverloaded)
	}
}

func createTopic(name string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req.Topics = append(req.Topics, topic)
	return req
}

// While the metadata log pushes back, a connection that asked for a change is told
// for how long it was held back, and is not read for as long again: whoever does
// not wait by itself waits in its socket.
func TestPushedBackConnectionWaits(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, time.Minute)
	must(t, b.client(t).Ping(ctx))
	socket, err := net.Dial("tcp", b.addr)
	must(t, err)
	defer socket.Close()
	must(t, socket.SetDeadline(time.Now().Add(time.Minute)))
	exchange := func(id int32, req kmsg.Request) kmsg.Response {
		t.Helper()
		header := protocol.RequestHeader{CorrelationID: id, Key: req.Key(), Version: req.GetVersion()}
		_, err := socket.Write(protocol.AppendRequest(nil, header, req))
		must(t, err)
		frame, err := protocol.ReadResponseFrame(socket, 1<<20)
		must(t, err)
		resp, err := protocol.ParseResponse(frame, req)
		must(t, err)
		return resp
	}

	b.pushBack(30)
	begun := time.Now()
	created, ok := exchange(1, createTopic("held")).(*kmsg.CreateTopicsResponse)
	if !ok || created.Topics[0].ErrorCode != 0 {
		t.Fatalf("got %+v", created)
	}
	throttle := time.Duration(created.ThrottleMillis) * time.Millisecond
	if throttle < 300*time.Millisecond || throttle > time.Second {
		t.Errorf("throttle_time_ms is %v after 30 refusals", throttle)
	}
	list := kmsg.NewPtrMetadataRequest()
	list.SetVersion(9)
	exchange(2, list)
	if took := time.Since(begun); took < 2*throttle-time.Millisecond {
		t.Errorf("the next request was answered after %v, held back and muted for %v each", took, throttle)
	}
	exchange(3, list)
}

// throttles counts what a Kafka client hears of throttling.
type throttles struct{ count atomic.Int32 }

func (h *throttles) OnBrokerThrottle(_ kgo.BrokerMetadata, _ time.Duration, after bool) {
	if after {
		h.count.Add(1)
	}
}

// A client's library understands both: it waits, and it gets an error that says so
// when the pressure lasts.
func TestPushedBackClientUnderstands(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, time.Minute)
	heard := &throttles{}
	adm := kadm.NewClient(b.client(t, kgo.WithHooks(heard)))
	other := kadm.NewClient(b.client(t))
	_, err := other.CreateTopic(ctx, 1, 1, nil, "before")
	must(t, err)

	b.pushBack(6000) // a minute
	first := make(chan error, 1)
	go func() {
		_, err := other.CreateTopic(ctx, 1, 1, nil, "first")
		first <- err
	}()
	for refused := uint64(0); refused < 30; time.Sleep(time.Millisecond) {
		s, err := b.log.Status(ctx, consensus.Metadata)
		must(t, err)
		refused = s.Rejected
	}
	if _, err = adm.CreateTopic(ctx, 1, 1, nil, "refused"); !errors.Is(err, kerr.ThrottlingQuotaExceeded) {
		t.Errorf("got %v while the metadata log takes nothing", err)
	}
	if heard.count.Load() == 0 {
		t.Error("the client heard nothing of throttle_time_ms")
	}
	b.log.Cluster().NoFaults()
	must(t, <-first)
	for created := false; !created; {
		_, err := adm.CreateTopic(ctx, 1, 1, nil, "refused")
		if created = err == nil; !created && !errors.Is(err, kerr.ThrottlingQuotaExceeded) {
			t.Fatal(err)
		}
	}
}
