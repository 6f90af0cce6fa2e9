package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func admitAll(int16, int16, int) error { return nil }

// framed puts a length in front of b.
func framed(length uint32, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, length), b...)
}

func TestReadRequestFrame(t *testing.T) {
	t.Parallel()
	refused := errors.New("not this one")
	big := bytes.Repeat([]byte{7}, 3*readStep+5)
	tests := []struct {
		name    string
		in      []byte
		admit   Admit
		want    []byte
		wantErr error
	}{
		{"a small frame", framed(6, []byte{0, 18, 0, 3, 1, 2}), admitAll, []byte{0, 18, 0, 3, 1, 2}, nil},
		{"only key and version", framed(4, []byte{0, 18, 0, 3}), admitAll, []byte{0, 18, 0, 3}, nil},
		{"a frame of several steps", framed(uint32(len(big)), big), admitAll, big, nil},
		{"nothing", nil, admitAll, nil, io.EOF},
		{"half a length", []byte{0, 0}, admitAll, nil, io.ErrUnexpectedEOF},
		{"a length and no more", framed(6, nil), admitAll, nil, io.ErrUnexpectedEOF},
		{"a body that ends early", framed(600, big[:300]), admitAll, nil, io.ErrUnexpectedEOF},
		{"a length that lies by gigabytes", framed(1<<31-1, big), admitAll, nil, io.ErrUnexpectedEOF},
		{"a negative length", framed(1<<31, big), admitAll, nil, ErrMalformed},
		{"too short for a key", framed(3, big), admitAll, nil, ErrMalformed},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), admitAll, nil, io.ErrUnexpectedEOF},
		{"refused", framed(6, []byte{0, 18, 0, 3, 1, 2}), func(int16, int16, int) error { return refused }, nil, refused},
	}
	for _, tt := range tests {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				t.Parallel()
				got, err := ReadRequestFrame(wrap(bytes.NewReader(tt.in)), tt.admit)
				if !errors.Is(err, tt.wantErr) || !bytes.Equal(got, tt.want) {
					t.Fatalf("got %d bytes, %v; want %d bytes, %v", len(got), err, len(tt.want), tt.wantErr)
				}
			})
		}
	}
}

// A frame that announces two gigabytes and sends little costs little.
func TestReadFrameAllocatesWhatArrives(t *testing.T) {
	in := framed(1<<31-1, make([]byte, 100_000))
	got := allocated(func() { _, _ = ReadRequestFrame(bytes.NewReader(in), admitAll) })
	if got > 4*len(in) {
		t.Errorf("allocated %d bytes for %d that arrived", got, len(in))
	}
}

func TestReadResponseFrame(t *testing.T) {
	t.Parallel()
	got, err := ReadResponseFrame(bytes.NewReader(framed(5, []byte{0, 0, 0, 1, 9})), 5)
	if err != nil || !bytes.Equal(got, []byte{0, 0, 0, 1, 9}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, length := range []uint32{3, 6, 1 << 31} {
		if _, err := ReadResponseFrame(bytes.NewReader(framed(length, make([]byte, 10))), 5); !errors.Is(err, ErrMalformed) {
			t.Errorf("length %d: got %v, want ErrMalformed", length, err)
		}
	}
}

func FuzzReadRequestFrame(f *testing.F) {
	f.Add(framed(6, []byte{0, 18, 0, 3, 1, 2}))
	f.Add(framed(1<<31-1, []byte{0, 0}))
	f.Fuzz(func(t *testing.T, in []byte) {
		frame, err := ReadRequestFrame(bytes.NewReader(in), admitAll)
		if err == nil && !bytes.Equal(frame, in[4:4+len(frame)]) {
			t.Fatalf("frame %x is not the beginning of %x", frame, in)
		}
	})
}
