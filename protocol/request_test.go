package protocol

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestParseHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		frame    []byte
		want     RequestHeader
		wantBody []byte
		wantErr  error
	}{
		{"metadata v1", []byte{0, 3, 0, 1, 0, 0, 0, 9, 0, 2, 'm', 'e', 5}, RequestHeader{3, 1, 9, new("me")}, []byte{5}, nil},
		{"null client id", []byte{0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff}, RequestHeader{3, 1, 9, nil}, []byte{}, nil},
		{"flexible, no tags", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'x', 0, 7}, RequestHeader{3, 9, 9, new("x")}, []byte{7}, nil},
		{"flexible, a tag", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'x', 1, 4, 2, 1, 1, 7}, RequestHeader{3, 9, 9, new("x")}, []byte{7}, nil},
		{"sasl handshake is never flexible", []byte{0, 17, 0, 1, 0, 0, 0, 9, 0, 0, 7}, RequestHeader{17, 1, 9, new("")}, []byte{7}, nil},
		{"a version from the future", []byte{0, 18, 0, 99, 0, 0, 0, 9, 0, 1, 'x', 0, 7}, RequestHeader{18, 99, 9, new("x")}, []byte{7}, nil},
		{"unknown key", []byte{3, 232, 0, 0, 0, 0, 0, 9, 0xff, 0xff}, RequestHeader{}, nil, ErrMalformed},
		{"negative key", []byte{0xff, 0xff, 0, 0, 0, 0, 0, 9, 0xff, 0xff}, RequestHeader{}, nil, ErrMalformed},
		{"no correlation id", []byte{0, 3, 0, 1, 0, 0}, RequestHeader{}, nil, ErrMalformed},
		{"client id beyond the end", []byte{0, 3, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 'm'}, RequestHeader{}, nil, ErrMalformed},
		{"four billion tags", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'x', 0xff, 0xff, 0xff, 0xff, 0x0f, 0}, RequestHeader{}, nil, ErrMalformed},
		{"a tag beyond the end", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'x', 1, 4, 9, 1}, RequestHeader{}, nil, ErrMalformed},
		{"a varint that does not end", []byte{0, 3, 0, 9, 0, 0, 0, 9, 0, 1, 'x', 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, RequestHeader{}, nil, ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, body, err := ParseHeader(tt.frame)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("got error %v, want %v", err, tt.wantErr)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wantBody, body, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// Every request in every version goes through AppendRequest, ParseHeader and
// ParseRequest, and comes out as the same bytes; so does its response.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6)) // repeatable on purpose
	eachRequest(func(req kmsg.Request) {
		version := req.GetVersion()
		populate(rng, reflect.ValueOf(req).Elem(), 0)
		req.SetVersion(version)
		header := RequestHeader{req.Key(), version, 77, new("round")}
		sent := AppendRequest(nil, header, req)

		gotHeader, body, err := ParseHeader(sent[4:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(header, gotHeader); diff != "" {
			t.Fatalf("header (-want +got):\n%s", diff)
		}
		got, err := ParseRequest(gotHeader, body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sent, AppendRequest(nil, gotHeader, got)); diff != "" {
			t.Fatalf("%s v%d (-sent +again):\n%s", kmsg.NameForKey(req.Key()), version, diff)
		}

		resp := req.ResponseKind()
		resp.SetVersion(version)
		answer := AppendResponse(nil, header, resp)
		if id, err := CorrelationID(answer[4:]); err != nil || id != 77 {
			t.Fatalf("correlation id: got %d, %v", id, err)
		}
		if _, err := ParseResponse(answer[4:], req); err != nil {
			t.Fatal(err)
		}
	})
}

// The header of an ApiVersions response is version 0 always (KIP-511).
func TestAPIVersionsResponseHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		resp kmsg.Response
		want []byte
	}{
		{"api versions v3: error code right after the id", &kmsg.ApiVersionsResponse{Version: 3, ErrorCode: 35}, []byte{0, 0, 0, 7, 0, 35}},
		{"api versions v0", &kmsg.ApiVersionsResponse{Version: 0, ErrorCode: 35}, []byte{0, 0, 0, 7, 0, 35}},
		{"heartbeat v4: a tag section first", &kmsg.HeartbeatResponse{Version: 4, ErrorCode: 35}, []byte{0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 35}},
		{"heartbeat v3", &kmsg.HeartbeatResponse{Version: 3, ErrorCode: 35}, []byte{0, 0, 0, 7, 0, 0, 0, 0, 0, 35}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := AppendResponse(nil, RequestHeader{CorrelationID: 7}, tt.resp)[4:]
			if diff := cmp.Diff(tt.want, got[:len(tt.want)]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParseRequest feeds frames of all keys. Nothing may panic or hang, and what is
// decoded must be within the weight.
func FuzzParseRequest(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8)) // repeatable on purpose
	eachRequest(func(req kmsg.Request) {
		version := req.GetVersion()
		populate(rng, reflect.ValueOf(req).Elem(), 1)
		req.SetVersion(version)
		f.Add(AppendRequest(nil, RequestHeader{CorrelationID: 1, ClientID: new("f")}, req)[4:])
	})
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseHeader(frame)
		if err != nil {
			return
		}
		req, err := ParseRequest(h, body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want it to wrap ErrMalformed", err)
			}
			return
		}
		again := AppendRequest(nil, h, req)
		if _, _, err := ParseHeader(again[4:]); err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
	})
}

func BenchmarkGuard(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	topic := kmsg.NewFetchRequestTopic()
	for range 100 {
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	req.Topics = append(req.Topics, topic)
	body := req.AppendTo(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := measure(shapeOf(req), body, true, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
