package etcdraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A connection begins with a hello from the one who dialled, and an answer.
//
//	hello  | magic "QRFT" | version u16 | kind u8 | len u8 | from u64 | to u64 | cluster id | len u8 | address |
//	answer | magic "QRFT" | version u16 | ok u8   | len u8 | replica u64       | why not    |
//
// The first len is that of the cluster id, or of the reason. The address is where
// the one who dialled can be dialled.
const (
	helloMagic   = "QRFT"
	helloVersion = 2
	maxHelloText = 255
)

type connKind uint8

const (
	messageConn connKind = iota + 1
	snapshotConn
)

type hello struct {
	kind     connKind
	from, to uint64
	cluster  string
	address  string
}

var errNotPeer = errors.New("the other side is not a replica of this backend")

func writeHello(w io.Writer, h hello) error {
	if len(h.cluster) > maxHelloText || len(h.address) > maxHelloText {
		return fmt.Errorf("cluster id of %d bytes, address of %d", len(h.cluster), len(h.address))
	}
	b := binary.LittleEndian.AppendUint16([]byte(helloMagic), helloVersion)
	b = append(b, byte(h.kind), byte(len(h.cluster)))
	b = binary.LittleEndian.AppendUint64(b, h.from)
	b = binary.LittleEndian.AppendUint64(b, h.to)
	b = append(append(b, h.cluster...), byte(len(h.address)))
	_, err := w.Write(append(b, h.address...))
	return err
}

func readHello(r io.Reader) (hello, error) {
	var b [24]byte
	kind, n, err := readHelloStart(r, b[:])
	if err != nil {
		return hello{}, err
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(r, text); err != nil {
		return hello{}, err
	}
	address := make([]byte, text[n])
	if _, err := io.ReadFull(r, address); err != nil {
		return hello{}, err
	}
	h := hello{
		kind: connKind(kind),
		from: binary.LittleEndian.Uint64(b[8:]), to: binary.LittleEndian.Uint64(b[16:]),
		cluster: string(text[:n]), address: string(address),
	}
	if h.kind != messageConn && h.kind != snapshotConn {
		return hello{}, fmt.Errorf("%w: connection of kind %d", errNotPeer, kind)
	}
	return h, nil
}

func readHelloStart(r io.Reader, b []byte) (kind uint8, textBytes int, err error) {
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, 0, err
	}
	if string(b[:4]) != helloMagic {
		return 0, 0, errNotPeer
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v != helloVersion {
		return 0, 0, fmt.Errorf("peer speaks version %d, want %d", v, helloVersion)
	}
	return b[6], int(b[7]), nil
}

// writeAnswer accepts the connection, or refuses it and says why.
func writeAnswer(w io.Writer, replica uint64, refusal error) error {
	ok, text := byte(1), ""
	if refusal != nil {
		ok, text = 0, refusal.Error()
		text = text[:min(len(text), maxHelloText)]
	}
	b := binary.LittleEndian.AppendUint16([]byte(helloMagic), helloVersion)
	b = append(b, ok, byte(len(text)))
	b = binary.LittleEndian.AppendUint64(b, replica)
	_, err := w.Write(append(b, text...))
	return err
}

// readAnswer returns an error if the peer refused or is not replica want.
func readAnswer(r io.Reader, want uint64) error {
	var b [16]byte
	ok, n, err := readHelloStart(r, b[:])
	if err != nil {
		return err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	if ok != 1 {
		return fmt.Errorf("refused by the peer: %q", text)
	}
	if got := binary.LittleEndian.Uint64(b[8:]); got != want {
		return fmt.Errorf("replica %d answers where replica %d was expected", got, want)
	}
	return nil
}
