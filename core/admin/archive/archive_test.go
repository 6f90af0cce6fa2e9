package archive

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func written(t *testing.T, content []byte) (Header, []byte) {
	t.Helper()
	h := Header{
		Cluster: "prod", Backend: "etcd-raft", Node: 3, Index: 17, Term: 2, ConfigIndex: 9,
		Members: []Member{{Replica: 3, Broker: 3, Address: "n3:9193", Role: "voter"}}, Format: "test", Created: time.Unix(1, 0).UTC(),
	}
	var b bytes.Buffer
	err := Write(&b, h, func(w io.Writer) error {
		for rest := content; len(rest) > 0; { // in pieces that are not chunks
			n := min(len(rest), 1000)
			if _, err := w.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, b.Bytes()
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes} {
		content := bytesOf(size)
		h, archive := written(t, content)
		r, err := NewReader(iotest.OneByteReader(bytes.NewReader(archive)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, content) || r.Size() != int64(size) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if r.Header.Index != h.Index || r.Header.Cluster != h.Cluster || !slices.Equal(r.Header.Members, h.Members) || !r.Header.Created.Equal(h.Created) {
			t.Errorf("header %+v, want %+v", r.Header, h)
		}
		if !bytes.Equal(r.Digest(), archive[len(archive)-32:]) {
			t.Error("the digest is not the end of the file")
		}
	}
}

// Every byte counts, and every cut is noticed.
func TestDamage(t *testing.T) {
	_, archive := written(t, bytesOf(500))
	read := func(b []byte) error {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return err
	}
	for i := range archive {
		bad := slices.Clone(archive)
		bad[i] ^= 0x40
		if read(bad) == nil {
			t.Errorf("byte %d of %d may be anything", i, len(archive))
		}
		if err := read(archive[:i]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d of %d: %v", i, len(archive), err)
		}
	}
	if err := read(append(slices.Clone(archive), 0)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "behind its end") {
		t.Errorf("something behind the end: %v", err)
	}
	newer := slices.Clone(archive)
	newer[len(Magic)-1] = 9
	if err := read(newer); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("another version: %v", err)
	}
	broken := errors.New("the disk")
	if _, err := NewReader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, Header{}, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		_ = err // any error, no panic
	})
}
