package protocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produced is what one reading of a ProduceRequest gave.
type produced struct {
	TransactionID *string
	Acks          int16
	TimeoutMillis int32
	Topics        []producedTopic
}

type producedTopic struct {
	Name       string
	ID         [16]byte
	Partitions []producedPartition
}

type producedPartition struct {
	Partition int32
	Records   []byte
}

// readProduce reads a request to its end. skip tells which partitions' records are
// passed over.
func readProduce(r *ProduceRequest, err error, skip func() bool) (produced, error) {
	if err != nil {
		return produced{}, err
	}
	out := produced{TransactionID: r.TransactionID, Acks: r.Acks, TimeoutMillis: r.TimeoutMillis}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return out, r.Finish()
		}
		if err != nil {
			return out, err
		}
		if p.NewTopic {
			out.Topics = append(out.Topics, producedTopic{Name: p.Topic, ID: p.TopicID})
		}
		part := producedPartition{Partition: p.Partition}
		if !skip() {
			records, err := r.Records()
			if err != nil {
				return out, err
			}
			part.Records = bytes.Clone(records)
		}
		last := &out.Topics[len(out.Topics)-1]
		last.Partitions = append(last.Partitions, part)
	}
}

func never() bool { return false }

// fromKmsg is what kmsg read, in the same form. Topics without partitions are left out:
// nothing happens to them.
func fromKmsg(k *kmsg.ProduceRequest) produced {
	out := produced{TransactionID: k.TransactionID, Acks: k.Acks, TimeoutMillis: k.TimeoutMillis}
	for _, t := range k.Topics {
		topic := producedTopic{Name: t.Topic, ID: t.TopicID}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, producedPartition{p.Partition, bytes.Clone(p.Records)})
		}
		if len(t.Partitions) > 0 {
			out.Topics = append(out.Topics, topic)
		}
	}
	return out
}

func streamed(version int16, body []byte, wrap func(io.Reader) io.Reader) (*ProduceRequest, error) {
	in := bufio.NewReaderSize(wrap(bytes.NewReader(body)), 64)
	return StreamProduce(version, in, len(body), func(n int) ([]byte, error) {
		memory := make([]byte, n)
		_, err := io.ReadFull(in, memory)
		return memory, err
	})
}

// someProduce is a request with everything in it that the version has.
func someProduce(random *rand.Rand, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, int16(random.IntN(3)-1), random.Int32()
	if version >= 3 && random.IntN(2) == 0 {
		req.TransactionID = new("tx")
	}
	for i := range random.IntN(4) {
		t := kmsg.NewProduceRequestTopic()
		if version >= 13 {
			t.TopicID = [16]byte{byte(i), 7}
		} else {
			t.Topic = fmt.Sprintf("topic-%d", i)
		}
		for range random.IntN(4) {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = random.Int32()
			if random.IntN(5) > 0 {
				p.Records = bytes.Repeat([]byte{byte(random.Int32())}, random.IntN(300))
			}
			if version >= flexibleProduce && random.IntN(3) == 0 {
				p.UnknownTags.Set(7, []byte("tag"))
				t.UnknownTags.Set(9, []byte("tag"))
				req.UnknownTags.Set(100, nil)
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// TestProduceAgreesWithKmsg reads what kmsg wrote, in every version and each way.
func TestProduceAgreesWithKmsg(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for version := int16(0); version <= new(kmsg.ProduceRequest).MaxVersion(); version++ {
		for range 20 {
			req := someProduce(random, version)
			body := req.AppendTo(nil)
			want := fromKmsg(req)
			if version < 3 {
				want.TransactionID = nil
			}
			r, err := DecodeProduce(version, body)
			if got, err := readProduce(r, err, never); err != nil || !cmp.Equal(got, want) {
				t.Fatalf("v%d: %v\n%s", version, err, cmp.Diff(want, got))
			}
			r, err = streamed(version, body, iotest.OneByteReader)
			if got, err := readProduce(r, err, never); err != nil || !cmp.Equal(got, want) {
				t.Fatalf("v%d as it arrives: %v\n%s", version, err, cmp.Diff(want, got))
			}
			r, err = streamed(version, body, func(r io.Reader) io.Reader { return r })
			if err != nil || r.Finish() != nil {
				t.Fatalf("v%d passed over: %v", version, errors.Join(err, r.Err()))
			}
			for cut := range len(body) {
				r, err := streamed(version, body[:cut], func(r io.Reader) io.Reader { return r })
				if _, err := readProduce(r, err, never); !errors.Is(err, ErrMalformed) {
					t.Fatalf("v%d with %d of %d bytes announced: %v", version, cut, len(body), err)
				}
			}
		}
	}
}

// TestProduceSkips: records that nobody asks for are passed over, whatever comes next.
func TestProduceSkips(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for version := int16(3); version <= 13; version++ {
		for range 50 {
			req := someProduce(random, version)
			want := fromKmsg(req)
			var skipped []bool
			for _, topic := range want.Topics {
				for i := range topic.Partitions {
					skip := random.IntN(2) == 0
					if skipped = append(skipped, skip); skip {
						topic.Partitions[i].Records = nil
					}
				}
			}
			next := 0
			r, err := streamed(version, req.AppendTo(nil), iotest.HalfReader)
			got, err := readProduce(r, err, func() bool { next++; return skipped[next-1] })
			if err != nil || !cmp.Equal(got, want) {
				t.Fatalf("v%d: %v\n%s", version, err, cmp.Diff(want, got))
			}
		}
	}
}

// TestProduceThatDoesNotArrive: a stream that ends or fails within a request is the
// peer's end, not a lie.
func TestProduceThatDoesNotArrive(t *testing.T) {
	body := someProduce(rand.New(rand.NewPCG(9, 9)), 9).AppendTo(nil)
	for cut := range len(body) {
		in := bufio.NewReader(io.MultiReader(bytes.NewReader(body[:cut]), iotest.ErrReader(io.ErrClosedPipe)))
		r, err := StreamProduce(9, in, len(body), func(n int) ([]byte, error) {
			memory := make([]byte, n)
			_, err := io.ReadFull(in, memory)
			return memory, err
		})
		if _, err := readProduce(r, err, never); !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrMalformed) {
			t.Fatalf("after %d of %d bytes: %v", cut, len(body), err)
		}
	}
}

func fetchFromKmsg(k *kmsg.FetchRequest, version int16) *FetchRequest {
	r := &FetchRequest{
		Version: version, ReplicaID: k.ReplicaID, ReplicaEpoch: -1, MaxWaitMillis: k.MaxWaitMillis, MinBytes: k.MinBytes,
		MaxBytes: k.MaxBytes, Isolation: k.IsolationLevel, SessionID: k.SessionID, SessionEpoch: k.SessionEpoch, Rack: k.Rack,
	}
	if version >= 15 {
		r.ReplicaID, r.ReplicaEpoch = k.ReplicaState.ID, k.ReplicaState.Epoch
	}
	for _, t := range k.Topics {
		topic := FetchTopic{Name: t.Topic, ID: t.TopicID}
		for _, p := range t.Partitions {
			part := FetchPartition{
				Partition: p.Partition, CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
				MaxBytes: p.PartitionMaxBytes, Offset: p.FetchOffset, LogStart: p.LogStartOffset, DurableEnd: -1, KnownMark: -1,
			}
			p.UnknownTags.Each(func(tag uint32, value []byte) {
				if tag == FollowerTag && version >= flexibleFetch {
					part.DurableEnd, part.KnownMark = int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))
				}
			})
			topic.Partitions = append(topic.Partitions, part)
		}
		r.Topics = append(r.Topics, topic)
	}
	for _, t := range k.ForgottenTopics {
		r.Forgotten = append(r.Forgotten, ForgottenTopic{Name: t.Topic, ID: t.TopicID, Partitions: slices.Clone(t.Partitions)})
	}
	return r
}

func someFetch(random *rand.Rand, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = version, -1, random.Int32(), random.Int32(), random.Int32()
	req.IsolationLevel, req.SessionID, req.SessionEpoch, req.Rack = int8(random.IntN(2)), random.Int32(), random.Int32(), "rack"
	req.ClusterID = new("cluster")
	if random.IntN(2) == 0 {
		req.ReplicaID, req.ReplicaState.ID, req.ReplicaState.Epoch = 4, 5, 6
	}
	for i := range random.IntN(4) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = fmt.Sprintf("topic-%d", i), [16]byte{byte(i), 7}
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID = t.Topic, t.TopicID
		for range 1 + random.IntN(3) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.FetchOffset = random.Int32(), random.Int32(), random.Int64()
			p.LastFetchedEpoch, p.LogStartOffset, p.PartitionMaxBytes = random.Int32(), random.Int64(), random.Int32()
			if random.IntN(2) == 0 {
				p.HighWatermark, p.ReplicaDirectoryID = 77, [16]byte{1}
				p.UnknownTags.Set(50, []byte("tag"))
			}
			if random.IntN(2) == 0 {
				p.UnknownTags.Set(FollowerTag, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, random.Uint64()), random.Uint64()))
			}
			t.Partitions = append(t.Partitions, p)
			f.Partitions = append(f.Partitions, random.Int32())
		}
		req.Topics = append(req.Topics, t)
		req.ForgottenTopics = append(req.ForgottenTopics, f)
	}
	return req
}

// TestFetchAgreesWithKmsg reads what kmsg wrote, in every version.
func TestFetchAgreesWithKmsg(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for version := int16(4); version <= new(kmsg.FetchRequest).MaxVersion(); version++ {
		for range 20 {
			body := someFetch(random, version).AppendTo(nil)
			again := kmsg.NewPtrFetchRequest() // without what the version does not have
			again.Version = version
			if err := again.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			want := fetchFromKmsg(again, version)
			for how, read := range map[string]func() (*FetchRequest, error){
				"in memory": func() (*FetchRequest, error) { return DecodeFetch(version, body) },
				"as it arrives": func() (*FetchRequest, error) {
					return StreamFetch(version, bufio.NewReaderSize(bytes.NewReader(body), 16), len(body))
				},
			} {
				got, err := read()
				if err != nil {
					t.Fatalf("v%d %s: %v", version, how, err)
				}
				got.memory, got.limit = 0, 0
				if !cmp.Equal(got, want, cmp.AllowUnexported(FetchRequest{})) {
					t.Fatalf("v%d %s:\n%s", version, how, cmp.Diff(want, got, cmp.AllowUnexported(FetchRequest{})))
				}
			}
			for cut := range len(body) {
				if _, err := DecodeFetch(version, body[:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("v%d with %d of %d bytes: %v", version, cut, len(body), err)
				}
			}
		}
	}
}

// someFetched is a response, and the same as kmsg has it.
func someFetched(random *rand.Rand, version int16) (*FetchResponse, *kmsg.FetchResponse) {
	r := &FetchResponse{Version: version, ThrottleMillis: random.Int32()}
	k := kmsg.NewPtrFetchResponse()
	k.Version, k.ThrottleMillis = version, r.ThrottleMillis
	if version >= 7 {
		r.ErrorCode, r.SessionID = int16(random.Int32()), random.Int32()
		k.ErrorCode, k.SessionID = r.ErrorCode, r.SessionID
	}
	for i := range random.IntN(4) {
		t := FetchedTopic{Name: fmt.Sprintf("topic-%d", i), ID: [16]byte{byte(i), 3}}
		kt := kmsg.NewFetchResponseTopic()
		kt.Topic, kt.TopicID = t.Name, t.ID
		for range random.IntN(4) {
			p := NewFetchedPartition(random.Int32(), int16(random.Int32()))
			p.HighWatermark, p.LastStable, p.LogStart = random.Int64(), random.Int64(), random.Int64()
			kp := kmsg.NewFetchResponseTopicPartition()
			kp.Partition, kp.ErrorCode = p.Partition, p.ErrorCode
			kp.HighWatermark, kp.LastStableOffset, kp.LogStartOffset = p.HighWatermark, p.LastStable, p.LogStart
			kp.RecordBatches = []byte{}
			if random.IntN(2) == 0 {
				kp.RecordBatches = bytes.Repeat([]byte{byte(random.Int32())}, random.IntN(200))
				p.Records = Bytes(kp.RecordBatches)
			}
			if n := random.IntN(4); n < 3 {
				p.Aborted, kp.AbortedTransactions = []AbortedTransaction{}, []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
				for range n {
					a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
					a.ProducerID, a.FirstOffset = random.Int64(), random.Int64()
					p.Aborted, kp.AbortedTransactions = append(p.Aborted, AbortedTransaction{a.ProducerID, a.FirstOffset}), append(kp.AbortedTransactions, a)
				}
			}
			if random.IntN(2) == 0 {
				p.DivergingEpoch, p.DivergingEnd = random.Int32(), random.Int64()
				kp.DivergingEpoch.Epoch, kp.DivergingEpoch.EndOffset = p.DivergingEpoch, p.DivergingEnd
			}
			if random.IntN(2) == 0 {
				p.Leader, p.LeaderEpoch = random.Int32(), random.Int32()
				kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = p.Leader, p.LeaderEpoch
			}
			t.Partitions, kt.Partitions = append(t.Partitions, p), append(kt.Partitions, kp)
		}
		r.Topics, k.Topics = append(r.Topics, t), append(k.Topics, kt)
	}
	for i := range random.IntN(3) {
		rack := new("r")
		if i == 0 {
			rack = nil
		}
		r.Brokers = append(r.Brokers, FetchBroker{ID: int32(i), Host: "host", Port: 9092, Rack: rack})
		k.Brokers = append(k.Brokers, kmsg.FetchResponseBroker{NodeID: int32(i), Host: "host", Port: 9092, Rack: rack})
	}
	return r, k
}

// spliced is a response with its records in it, as it goes to the client.
func spliced(t *testing.T, id int32, r *FetchResponse) []byte {
	t.Helper()
	head, inserts, err := AppendFetchResponse(nil, nil, id, r)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	from := 0
	for _, i := range inserts {
		out = append(out, head[from:i.At]...)
		records, err := io.ReadAll(io.NewSectionReader(i.Records, 0, int64(i.Records.Size())))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, records...)
		from = i.At
	}
	return append(out, head[from:]...)
}

// TestFetchResponseAgreesWithKmsg wants the same bytes as kmsg writes, in every version.
func TestFetchResponseAgreesWithKmsg(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for version := int16(4); version <= new(kmsg.FetchResponse).MaxVersion(); version++ {
		for range 200 {
			r, k := someFetched(random, version)
			want := AppendResponse(nil, RequestHeader{CorrelationID: 42}, k)
			if got := spliced(t, 42, r); !bytes.Equal(got, want) {
				t.Fatalf("v%d:\n%x\nwant\n%x", version, got, want)
			}
		}
	}
}

// FuzzProduceRequest: what kmsg reads, this reads the same, and nothing more.
func FuzzProduceRequest(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for version := int16(0); version <= 13; version++ {
		f.Add(version, someProduce(random, version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > 13 {
			return
		}
		r, err := DecodeProduce(version, body)
		got, err := readProduce(r, err, never)
		r, streamErr := streamed(version, body, func(r io.Reader) io.Reader { return r })
		gotStream, streamErr := readProduce(r, streamErr, never)
		if (err == nil) != (streamErr == nil) || err == nil && !cmp.Equal(got, gotStream) {
			t.Fatalf("in memory %v, as it arrives %v", err, streamErr)
		}
		req, kmsgErr := ParseRequest(RequestHeader{Key: 0, Version: version}, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("not ErrMalformed: %v", err)
			}
			return // kmsg allows longer strings
		}
		if kmsgErr != nil {
			if errors.Is(kmsgErr, errTooDense) {
				return // here nothing is kept
			}
			t.Fatalf("kmsg refuses it: %v", kmsgErr)
		}
		if want := fromKmsg(req.(*kmsg.ProduceRequest)); !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
}

// FuzzFetchRequest: the same for Fetch.
func FuzzFetchRequest(f *testing.F) {
	random := rand.New(rand.NewPCG(2, 2))
	for version := int16(4); version <= 18; version++ {
		f.Add(version, someFetch(random, version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 4 || version > 18 {
			return
		}
		got, err := DecodeFetch(version, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("not ErrMalformed: %v", err)
			}
			return
		}
		if got.memory > FetchWeight(len(body)) {
			t.Fatalf("%d bytes became %d", len(body), got.memory)
		}
		k := kmsg.NewPtrFetchRequest()
		k.Version = version
		if err := k.ReadFrom(body); err != nil {
			return // it looks into tags that this passes over
		}
		got.memory, got.limit = 0, 0
		if want := fetchFromKmsg(k, version); !cmp.Equal(got, want, cmp.AllowUnexported(FetchRequest{})) {
			t.Fatal(cmp.Diff(want, got, cmp.AllowUnexported(FetchRequest{})))
		}
	})
}

// BenchmarkProduceDecode is a request of 1000 partitions, by kmsg behind its guard and
// by this package.
func BenchmarkProduceDecode(b *testing.B) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	t := kmsg.NewProduceRequestTopic()
	t.Topic = "orders"
	for i := range 1000 {
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i), Records: make([]byte, 1024)})
	}
	req.Topics = append(req.Topics, t)
	body := req.AppendTo(nil)
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseRequest(RequestHeader{Version: 9}, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := DecodeProduce(9, body)
			for err == nil {
				if _, err = r.Next(); err == nil {
					_, err = r.Records()
				}
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFetchDecode and BenchmarkFetchEncode are a fetch of 1000 partitions.
func BenchmarkFetchDecode(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	t := kmsg.NewFetchRequestTopic()
	for i := range 1000 {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition = int32(i)
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	body := req.AppendTo(nil)
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseRequest(RequestHeader{Key: 1, Version: 17}, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeFetch(17, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkFetchEncode(b *testing.B) {
	records := make([]byte, 1024)
	r := &FetchResponse{Version: 17, Topics: []FetchedTopic{{}}}
	k := kmsg.NewPtrFetchResponse()
	k.Version = 17
	k.Topics = append(k.Topics, kmsg.NewFetchResponseTopic())
	for i := range 1000 {
		p := NewFetchedPartition(int32(i), 0)
		p.Records = Bytes(records)
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
		kp := kmsg.NewFetchResponseTopicPartition()
		kp.Partition, kp.RecordBatches = int32(i), records
		k.Topics[0].Partitions = append(k.Topics[0].Partitions, kp)
	}
	b.Run("kmsg", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst = AppendResponse(dst[:0], RequestHeader{}, k)
		}
	})
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		var inserts []Insert
		for b.Loop() {
			dst, inserts, _ = AppendFetchResponse(dst[:0], inserts[:0], 1, r)
		}
	})
}
