package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// sinkVersions are the requests that a sink takes, and in which versions: as many as
// clients need to create topics and to produce.
var sinkVersions = map[int16][2]int16{
	int16(kmsg.Produce):        {3, 12},
	int16(kmsg.ListOffsets):    {1, 6},
	int16(kmsg.Metadata):       {0, 12},
	int16(kmsg.ApiVersions):    {0, 3},
	int16(kmsg.CreateTopics):   {2, 7},
	int16(kmsg.InitProducerID): {0, 4},
	// Clients make topics of many partitions in parts.
	int16(kmsg.CreatePartitions): {0, 3},
}

// mostSinkBytes bounds a request.
const mostSinkBytes = 100 << 20

// Sink is a broker that acknowledges and forgets: what a client reaches against it is
// what the client, the protocol and the network can do. It reads every request whole
// and looks at nothing but its structure. It leads every partition of every topic that
// was created, and has one node, 1.
type Sink struct {
	listener net.Listener
	host     string
	port     int32

	mu     sync.Mutex
	topics map[string]sinkTopic
	conns  map[net.Conn]struct{} // nil when it is closed
}

type sinkTopic struct {
	id         [16]byte
	partitions int32
}

// NewSink listens on an address.
func NewSink(addr string) (*Sink, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &Sink{listener: l, host: host, port: int32(number), topics: map[string]sinkTopic{}, conns: map[net.Conn]struct{}{}}, nil
}

// Addr is where it listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Sink) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.close()
	for {
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if !s.keep(conn) {
			conn.Close()
			return nil
		}
		wg.Go(func() {
			defer s.drop(conn)
			_ = s.serve(conn) // the client notices that it is gone
		})
	}
}

func (s *Sink) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Sink) drop(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *Sink) close() {
	_ = s.listener.Close() // wakes Accept
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

// serve answers one connection's requests, in order.
func (s *Sink) serve(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	var frame, out []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if size > mostSinkBytes {
			return fmt.Errorf("a request of %d bytes", size)
		}
		if cap(frame) < size {
			frame = make([]byte, size)
		}
		if _, err := io.ReadFull(in, frame[:size]); err != nil {
			return err
		}
		resp, h, err := s.answer(frame[:size])
		if err != nil {
			return err
		}
		if resp == nil {
			continue // acks=0
		}
		out = protocol.AppendResponse(out[:0], h, resp)
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}

// answer returns nil if the client wants no answer.
func (s *Sink) answer(frame []byte) (kmsg.Response, protocol.RequestHeader, error) {
	h, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return nil, h, err
	}
	versions, ok := sinkVersions[h.Key]
	if supported := ok && h.Version >= versions[0] && h.Version <= versions[1]; !supported {
		if h.Key == protocol.KeyAPIVersions { // answered as version 0, with an error (KIP-511)
			resp := apiVersions()
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp, h, nil
		}
		return nil, h, fmt.Errorf("%s v%d is not served", kmsg.NameForKey(h.Key), h.Version)
	}
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, h, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(h.Key), h.Version, err)
	}
	resp := s.respond(req)
	if resp != nil {
		resp.SetVersion(h.Version)
	}
	return resp, h, nil
}

func (s *Sink) respond(req kmsg.Request) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		return s.produce(req)
	case *kmsg.ListOffsetsRequest:
		return listOffsets(req)
	case *kmsg.MetadataRequest:
		return s.metadata(req)
	case *kmsg.CreateTopicsRequest:
		return s.createTopics(req)
	case *kmsg.CreatePartitionsRequest:
		return s.createPartitions(req)
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = 1
		return resp
	default:
		return apiVersions()
	}
}

func apiVersions() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for key, versions := range sinkVersions {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = key, versions[0], versions[1]
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// produce acknowledges. Offsets are not counted.
func (s *Sink) produce(req *kmsg.ProduceRequest) kmsg.Response {
	if req.Acks == 0 {
		return nil
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for i, t := range req.Topics {
		resp.Topics[i].Topic = t.Topic
		resp.Topics[i].Partitions = make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
		for j, p := range t.Partitions {
			out := &resp.Topics[i].Partitions[j]
			out.Default()
			out.Partition = p.Partition
		}
	}
	return resp
}

func (s *Sink) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, s.host, s.port
	resp.Brokers, resp.ControllerID = append(resp.Brokers, b), 1
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(req.Topics))
	for _, t := range req.Topics {
		if t.Topic != nil {
			names = append(names, *t.Topic)
		}
	}
	if req.Topics == nil {
		for name := range s.topics {
			names = append(names, name)
		}
	}
	for _, name := range names {
		resp.Topics = append(resp.Topics, s.topics[name].metadata(name))
	}
	return resp
}

func (t sinkTopic) metadata(name string) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID = &name, t.id
	if t.partitions == 0 {
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
	}
	for i := range t.partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR = i, 1, 0, []int32{1}, []int32{1}
		out.Partitions = append(out.Partitions, p)
	}
	return out
}

func (s *Sink) createTopics(req *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateTopicsResponse()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = t.Topic
		if _, exists := s.topics[t.Topic]; exists {
			out.ErrorCode = kerr.TopicAlreadyExists.Code
		} else {
			topic := sinkTopic{partitions: max(1, t.NumPartitions)}
			binary.BigEndian.PutUint64(topic.id[8:], uint64(len(s.topics)+1))
			s.topics[t.Topic] = topic
			out.TopicID, out.NumPartitions, out.ReplicationFactor = topic.id, topic.partitions, 1
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (s *Sink) createPartitions(req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Topics {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		topic, ok := s.topics[t.Topic]
		switch {
		case !ok:
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		case t.Count <= topic.partitions:
			out.ErrorCode = kerr.InvalidPartitions.Code
		default:
			topic.partitions = t.Count
			s.topics[t.Topic] = topic
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// listOffsets says that every partition is empty, as it always is.
func listOffsets(req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range req.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			out := kmsg.NewListOffsetsResponseTopicPartition()
			out.Partition, out.Offset, out.LeaderEpoch = p.Partition, 0, 0
			topic.Partitions = append(topic.Partitions, out)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
