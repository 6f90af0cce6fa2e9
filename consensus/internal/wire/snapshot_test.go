package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// parts returns a snapshot as it goes over the wire.
func parts(t *testing.T, m consensus.SnapshotMeta, content []byte) []*consensuspb.SnapshotPart {
	t.Helper()
	var ps []*consensuspb.SnapshotPart
	err := SendSnapshot(1, m, iotest.HalfReader(bytes.NewReader(content)), func(p *consensuspb.SnapshotPart) error {
		ps = append(ps, proto.CloneOf(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func receive(ps []*consensuspb.SnapshotPart) ([]byte, error) {
	r, err := ReceiveSnapshot(func() (*consensuspb.SnapshotPart, error) {
		if len(ps) == 0 {
			return nil, io.EOF
		}
		p := ps[0]
		ps = ps[1:]
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes} {
		content := bytes.Repeat([]byte{byte(size)}, size)
		ps := parts(t, consensus.SnapshotMeta{Index: 3, Term: 2}, content)
		got, err := receive(ps)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("size %d: got %d bytes, %v", size, len(got), err)
		}
	}
}

// TestSnapshotDamage: whatever happens on the way, nobody gets the whole content.
func TestSnapshotDamage(t *testing.T) {
	content := bytes.Repeat([]byte("abc"), chunkBytes)
	tests := []struct {
		name   string
		damage func([]*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart
	}{
		{"no header", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart { return ps[1:] }},
		{"no trailer", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart { return ps[:len(ps)-1] }},
		{"a chunk missing", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart { return append(ps[:1], ps[2:]...) }},
		{"two headers", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			return append(ps[:1], ps...)
		}},
		{"a bit flipped", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			ps[len(ps)-2].GetChunk()[7] ^= 1
			return ps
		}},
		{"another index in the trailer", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			ps[len(ps)-1].GetTrailer().Index++
			return ps
		}},
		{"another size in the header", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			ps[0].GetHeader().Size = 5
			return ps
		}},
		{"a chunk beyond the bound", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			ps[1] = &consensuspb.SnapshotPart{Part: &consensuspb.SnapshotPart_Chunk{Chunk: make([]byte, maxChunkBytes+1)}}
			return ps
		}},
		{"an empty part", func(ps []*consensuspb.SnapshotPart) []*consensuspb.SnapshotPart {
			ps[1] = &consensuspb.SnapshotPart{}
			return ps
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := receive(tt.damage(parts(t, consensus.SnapshotMeta{Index: 3}, content)))
			if !errors.Is(err, consensus.ErrSnapshotInvalid) || len(got) >= len(content) {
				t.Errorf("got %d of %d bytes, %v", len(got), len(content), err)
			}
		})
	}
}
