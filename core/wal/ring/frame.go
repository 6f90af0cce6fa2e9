package ring

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/quorate/quorate/protocol/record"
)

// Type says what a frame is.
type Type uint8

// The types of frames.
const (
	// Batches has whole record batches as payload, which their own CRCs cover.
	Batches Type = 1
	// Barrier has no payload. What it ends is the caller's to know.
	Barrier Type = 2
	// pad fills a round up to a multiple of blockSize.
	pad Type = 3
)

const (
	// HeaderSize is what a frame takes beside its payload, in bytes.
	HeaderSize = 64
	// blockSize is what rounds are multiples of, in bytes: the largest sector and page
	// that a torn write may damage.
	blockSize = 4096
	// MaxPayload is the largest payload, in bytes; recovery takes a longer one for damage.
	MaxPayload = 128 << 20
)

// Owner is whom a frame belongs to: the ring does not look at it.
type Owner struct {
	ID   [16]byte
	Part int32
}

// Frame is one entry of the ring. The ring does not look at Base and Position.
type Frame struct {
	Type     Type
	Owner    Owner
	Base     int64
	Position uint32
	Payload  []byte
}

// Positions of the fields in a header; all numbers are big endian.
const (
	magicAt    = 0
	versionAt  = 2
	typeAt     = 3
	lengthAt   = 4
	sequenceAt = 8
	lsnAt      = 16
	behindAt   = 24
	partAt     = 28
	ownerAt    = 32
	baseAt     = 48
	positionAt = 56
	crcAt      = 60
)

const (
	magic   = 0x5157 // "QW"
	version = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// foreign is how much of a batch its own CRC does not cover: base offset, length,
// leader epoch, magic and the CRC itself.
const foreign = 21

// payloadCRC is the CRC of what no other CRC covers of a payload; ok is false if it
// is not what its type says.
func payloadCRC(t Type, payload []byte) (crc uint32, ok bool) {
	switch t {
	case Batches:
		for rest := payload; len(rest) > 0; {
			var b record.Batch
			var err error
			if b, rest, err = record.Next(rest); err != nil {
				return 0, false
			}
			crc = crc32.Update(crc, castagnoli, b[:foreign])
		}
		return crc, len(payload) > 0
	case Barrier:
		return 0, len(payload) == 0
	case pad:
		return 0, len(payload) < 2*blockSize
	}
	return 0, false
}

// whole tells if the batches of a payload have their CRCs.
func whole(t Type, payload []byte) bool {
	if t != Batches {
		return true
	}
	for b, err := range record.Split(payload) {
		if err != nil || b.Magic() != 2 || !b.CheckCRC() {
			return false
		}
	}
	return true
}

// encodeFrame writes all of a header that is known before the frame has its place.
// The payload's CRC waits where the header's will be.
func encodeFrame(h []byte, f *Frame, crc uint32) {
	binary.BigEndian.PutUint16(h[magicAt:], magic)
	h[versionAt], h[typeAt] = version, byte(f.Type)
	binary.BigEndian.PutUint32(h[lengthAt:], uint32(len(f.Payload)))
	binary.BigEndian.PutUint32(h[partAt:], uint32(f.Owner.Part))
	copy(h[ownerAt:], f.Owner.ID[:])
	binary.BigEndian.PutUint64(h[baseAt:], uint64(f.Base))
	binary.BigEndian.PutUint32(h[positionAt:], f.Position)
	binary.BigEndian.PutUint32(h[crcAt:], crc)
}

// place is where a frame lies.
type place struct {
	sequence uint64 // of the file: the run in the upper half, a count in the lower
	lsn      uint64
	durable  uint64 // everything before this LSN was durable when the frame was written
}

// runOf is the run that a file of that number was written in.
func runOf(sequence uint64) uint64 { return sequence >> 32 }

// seal gives the frame its place and its CRC.
func seal(h []byte, p place) {
	binary.BigEndian.PutUint64(h[sequenceAt:], p.sequence)
	binary.BigEndian.PutUint64(h[lsnAt:], p.lsn)
	binary.BigEndian.PutUint32(h[behindAt:], uint32(p.lsn-p.durable))
	crc := binary.BigEndian.Uint32(h[crcAt:])
	binary.BigEndian.PutUint32(h[crcAt:], crc32.Update(crc, castagnoli, h[:crcAt]))
}

// header is a header that was read.
type header struct {
	place
	frame  Frame // without payload
	length int
	crc    uint32
}

// decodeHeader reads a header; ok is false if it cannot be one.
func decodeHeader(h []byte) (d header, ok bool) {
	if binary.BigEndian.Uint16(h[magicAt:]) != magic || h[versionAt] != version {
		return d, false
	}
	length := binary.BigEndian.Uint32(h[lengthAt:])
	if length > MaxPayload {
		return d, false
	}
	d.length = int(length)
	d.sequence = binary.BigEndian.Uint64(h[sequenceAt:])
	d.lsn = binary.BigEndian.Uint64(h[lsnAt:])
	d.durable = d.lsn - uint64(binary.BigEndian.Uint32(h[behindAt:]))
	d.frame = Frame{
		Type:     Type(h[typeAt]),
		Owner:    Owner{ID: [16]byte(h[ownerAt : ownerAt+16]), Part: int32(binary.BigEndian.Uint32(h[partAt:]))},
		Base:     int64(binary.BigEndian.Uint64(h[baseAt:])),
		Position: binary.BigEndian.Uint32(h[positionAt:]),
	}
	d.crc = binary.BigEndian.Uint32(h[crcAt:])
	return d, d.durable <= d.lsn && possible(d.sequence, d.lsn)
}

// possible tells if a file of that number and LSN may be. Both only grow, and a run that
// begins at half of what they may reach is refused: none comes to the end of them.
func possible(sequence, lsn uint64) bool {
	return runOf(sequence) < math.MaxUint32 && lsn <= math.MaxInt64
}

// valid tells if a header's CRC is right, given its bytes and its payload.
func (d *header) valid(h, payload []byte) bool {
	crc, ok := payloadCRC(d.frame.Type, payload)
	return ok && crc32.Update(crc, castagnoli, h[:crcAt]) == d.crc
}

// lengthOf is the length of the payload behind a header of a round.
func lengthOf(h []byte) int { return int(binary.BigEndian.Uint32(h[lengthAt:])) }
