package record

import (
	"encoding/hex"
	"errors"
	"testing"
)

func TestMarker(t *testing.T) {
	for _, want := range []Marker{{Abort, 0}, {Commit, 7}} {
		b := NewMarker(want, 42, 3, 1000)
		if err := Validate(b, Limits{AllowControl: true}); err != nil {
			t.Fatal(err)
		}
		if err := Validate(b, Limits{}); err == nil {
			t.Error("a client may write a marker")
		}
		got, ok, err := b.Marker()
		if got != want || !ok || err != nil || b.ProducerID() != 42 || b.ProducerEpoch() != 3 || !b.IsTransactional() {
			t.Errorf("got %+v %v %v, want %+v", got, ok, err, want)
		}
	}
}

// TestMarkerFormat holds the bytes of a marker's record still: they are Kafka's.
func TestMarkerFormat(t *testing.T) {
	b := NewMarker(Marker{Commit, 7}, 42, 3, 1000)
	const want = "20" + "00" + "00" + "00" + "08" + "00000001" + "0c" + "0000" + "00000007" + "00"
	if got := hex.EncodeToString(b.Payload()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMarkerOfOthers(t *testing.T) {
	control := func(count int, key, value []byte) Batch {
		b := NewBuilder()
		b.SetProducer(1, 0, NoSequence)
		b.SetControl()
		for range count {
			b.Add(0, key, value)
		}
		return Batch(b.Bytes())
	}
	tests := []struct {
		name      string
		batch     Batch
		malformed bool
	}{
		{"another kind of control record", control(1, []byte{0, 0, 0, 2}, nil), false},
		{"two records", control(2, []byte{0, 0, 0, 1}, make([]byte, 6)), true},
		{"short key", control(1, []byte{0, 0}, make([]byte, 6)), true},
		{"no key", control(1, nil, make([]byte, 6)), true},
		{"short value", control(1, []byte{0, 0, 0, 1}, make([]byte, 5)), true},
		{"negative version", control(1, []byte{255, 0, 0, 1}, make([]byte, 6)), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, ok, err := tt.batch.Marker()
			if ok || errors.Is(err, ErrMalformed) != tt.malformed {
				t.Errorf("got %v %v", ok, err)
			}
		})
	}
	data := NewBuilder()
	data.SetProducer(1, 0, 0)
	data.SetTransactional()
	data.Add(0, []byte{0, 0, 0, 1}, make([]byte, 6))
	if _, ok, err := Batch(data.Bytes()).Marker(); ok || err != nil {
		t.Errorf("a batch of data: got %v %v", ok, err)
	}
}
