package core_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// batch is one record batch with the given values.
func batch(values ...string) []byte {
	b := record.NewBuilder()
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	return b.Bytes()
}

func produce(topic string, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 10
	req.Acks, req.TimeoutMillis = acks, 5000
	req.Topics = []kmsg.ProduceRequestTopic{{
		Topic:      topic,
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}},
	}}
	return req
}

func versioned(req *kmsg.ProduceRequest, version int16) *kmsg.ProduceRequest {
	req.Version = version
	return req
}

// raw sends one request over a connection of its own and returns the response.
func raw(t *testing.T, addr string, req kmsg.Request) kmsg.Response {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 1))
	must(t, err)
	frame := make([]byte, 4)
	_, err = io.ReadFull(conn, frame)
	must(t, err)
	frame = make([]byte, binary.BigEndian.Uint32(frame))
	_, err = io.ReadFull(conn, frame)
	must(t, err)
	resp := req.ResponseKind()
	header := 4
	if req.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16() {
		header++ // no tags
	}
	must(t, resp.ReadFrom(frame[header:]))
	return resp
}

func corrupted(records []byte) []byte {
	records[len(records)-1] ^= 0xff
	return records
}

func TestProduceRefused(t *testing.T) {
	b := startBroker(t, func(c *core.Config) { c.API.AutoCreateTopics = false })
	ctx := within(t, 30*time.Second)
	client := b.client(t)
	_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, map[string]*string{"max.message.bytes": new("1000")}, "small")
	must(t, err)
	transactional := produce("small", 0, -1, batch("x"))
	transactional.TransactionID = new("tx")
	tests := []struct {
		name string
		req  *kmsg.ProduceRequest
		want protocol.ErrorCode
	}{
		{"a good batch", produce("small", 0, -1, batch("x")), protocol.None},
		{"no such topic", produce("missing", 0, -1, batch("x")), protocol.UnknownTopicOrPartition},
		{"no such partition", produce("small", 7, -1, batch("x")), protocol.UnknownTopicOrPartition},
		{"a negative partition", produce("small", -1, -1, batch("x")), protocol.UnknownTopicOrPartition},
		{"acks that do not exist", produce("small", 0, 2, batch("x")), protocol.InvalidRequiredAcks},
		{"a wrong checksum", produce("small", 0, -1, corrupted(batch("x"))), protocol.CorruptMessage},
		{"a batch cut short", produce("small", 0, -1, batch("hello")[:60]), protocol.CorruptMessage},
		{"a batch too large", produce("small", 0, -1, batch(strings.Repeat("x", 2000))), protocol.MessageTooLarge},
		{"a version that is refused", versioned(produce("small", 0, -1, batch("x")), 2), protocol.UnsupportedVersion},
		{"an internal topic", produce("__consumer_offsets", 0, -1, batch("x")), protocol.InvalidTopicException},
		{"a transaction", transactional, protocol.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Not with the client library: it writes its own acks over the request's.
			p := raw(t, b.addr, tt.req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if got := protocol.ErrorCode(p.ErrorCode); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, p.ErrorMessage, tt.want)
			}
		})
	}
}

// TestProduceNamesRecords: from v8 on the answer says which records were wrong.
func TestProduceNamesRecords(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t)
	_, err := kadm.NewClient(client).CreateTopic(within(t, 30*time.Second), 1, 1, map[string]*string{"cleanup.policy": new("compact")}, "keyed")
	must(t, err)
	builder := record.NewBuilder()
	builder.Add(1, []byte("key"), []byte("a"))
	builder.Add(1, nil, []byte("b"))
	for version, want := range map[int16]int{7: 0, 8: 1, 9: 1} {
		resp := raw(t, b.addr, versioned(produce("keyed", 0, -1, builder.Bytes()), version)).(*kmsg.ProduceResponse)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != int16(protocol.InvalidRecord) || len(p.ErrorRecords) != want {
			t.Fatalf("v%d: got %s, %v", version, protocol.ErrorCode(p.ErrorCode), p.ErrorRecords)
		}
		if want == 1 && (p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorRecords[0].ErrorMessage == nil) {
			t.Errorf("v%d: got %+v, want record 1", version, p.ErrorRecords[0])
		}
	}
}

func TestFetchRefused(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, 30*time.Second)
	client := b.client(t)
	adm := kadm.NewClient(client)
	created, err := adm.CreateTopic(ctx, 1, 1, nil, "one")
	must(t, err)
	must(t, client.ProduceSync(ctx, &kgo.Record{Topic: "one", Value: []byte("x")}).FirstErr())
	fetch := func(change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) *kmsg.FetchRequest {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 10, 1, 1<<20
		req.ReplicaState.ID = -1
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = 1<<20, -1, -1
		change(req, &p)
		req.Topics = []kmsg.FetchRequestTopic{{Topic: "one", TopicID: created.ID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
		return req
	}
	type (
		request   = *kmsg.FetchRequest
		partition = *kmsg.FetchRequestTopicPartition
	)
	tests := []struct {
		name   string
		change func(request, partition)
		want   protocol.ErrorCode
	}{
		{"the start", func(request, partition) {}, protocol.None},
		{"the end", func(_ request, p partition) { p.FetchOffset = 1 }, protocol.None},
		{"beyond the end", func(_ request, p partition) { p.FetchOffset = 99 }, protocol.OffsetOutOfRange},
		{"below the start", func(_ request, p partition) { p.FetchOffset = -5 }, protocol.OffsetOutOfRange},
		{"an epoch to come", func(_ request, p partition) { p.CurrentLeaderEpoch = 99 }, protocol.UnknownLeaderEpoch},
		{"no such partition", func(_ request, p partition) { p.Partition = 5 }, protocol.UnknownTopicOrPartition},
		{"a replica", func(r request, _ partition) { r.ReplicaState.ID = 1 }, protocol.ClusterAuthorizationFailed},
		{"a session", func(r request, _ partition) { r.SessionID, r.SessionEpoch = 7, 1 }, protocol.FetchSessionIDNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := client.Broker(1).Request(ctx, fetch(tt.change))
			must(t, err)
			r := resp.(*kmsg.FetchResponse)
			got := protocol.ErrorCode(r.ErrorCode)
			if got == protocol.None {
				got = protocol.ErrorCode(r.Topics[0].Partitions[0].ErrorCode)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("no such topic id", func(t *testing.T) {
		req := fetch(func(request, partition) {})
		req.Topics[0].TopicID = [16]byte{1}
		resp, err := client.Broker(1).Request(ctx, req)
		must(t, err)
		if got := protocol.ErrorCode(resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode); got != protocol.UnknownTopicID {
			t.Errorf("got %s, want %s", got, protocol.UnknownTopicID)
		}
	})
}

func TestCreateTopicsRefused(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, 30*time.Second)
	adm := kadm.NewClient(b.client(t))
	_, err := adm.CreateTopic(ctx, 1, 1, nil, "taken")
	must(t, err)
	tests := []struct {
		name       string
		topic      string
		partitions int32
		replicas   int16
		configs    map[string]*string
		want       protocol.ErrorCode
	}{
		{"a path", "../x", 1, 1, nil, protocol.InvalidTopicException},
		{"dots", "..", 1, 1, nil, protocol.InvalidTopicException},
		{"an empty name", "", 1, 1, nil, protocol.InvalidTopicException},
		{"a long name", strings.Repeat("x", 250), 1, 1, nil, protocol.InvalidTopicException},
		{"a name that is taken", "taken", 1, 1, nil, protocol.TopicAlreadyExists},
		{"no partitions", "none", 0, 1, nil, protocol.InvalidPartitions},
		{"more replicas than brokers", "wide", 1, 3, nil, protocol.InvalidReplicationFactor},
		{"a setting that does not exist", "odd", 1, 1, map[string]*string{"retentoin.ms": new("1")}, protocol.InvalidConfig},
		{"a value that is no number", "odd", 1, 1, map[string]*string{"retention.ms": new("soon")}, protocol.InvalidConfig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := adm.CreateTopics(ctx, tt.partitions, tt.replicas, tt.configs, tt.topic)
			must(t, err)
			got := resp[tt.topic]
			if code := codeOf(got.Err); code != tt.want {
				t.Errorf("got %v (%s), want %s", got.Err, got.ErrMessage, tt.want)
			}
			if got.ErrMessage == "" {
				t.Error("no message that says how to fix it")
			}
		})
	}
}

// codeOf is the code of a client library's error.
func codeOf(err error) protocol.ErrorCode {
	for code := protocol.ErrorCode(-1); code < 140; code++ {
		if err != nil && strings.HasPrefix(err.Error(), code.String()+":") {
			return code
		}
	}
	return protocol.None
}

// Brokers' own requests are not served to clients: the connection is closed.
func TestInternalRequestsRefused(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t)
	ctx := within(t, 30*time.Second)
	must(t, client.Ping(ctx))
	for _, req := range []kmsg.Request{
		kmsg.NewPtrBrokerHeartbeatRequest(), kmsg.NewPtrBrokerRegistrationRequest(),
		kmsg.NewPtrAlterPartitionRequest(), kmsg.NewPtrEnvelopeRequest(), kmsg.NewPtrAllocateProducerIDsRequest(),
	} {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		if resp, err := client.Broker(1).Request(short, req); err == nil {
			t.Errorf("request of key %d was answered on a client listener: %v", req.Key(), resp)
		}
		cancel()
	}
}
