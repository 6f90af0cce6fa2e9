package record

import (
	"encoding/binary"
	"fmt"
)

// MarkerType is what a transaction marker says, numbered as in the control record's key.
type MarkerType int16

// The markers.
const (
	Abort  MarkerType = 0
	Commit MarkerType = 1
)

// Marker is the end of a producer's transaction in a partition: the one record of a
// control batch that the transaction coordinator wrote.
type Marker struct {
	Type             MarkerType
	CoordinatorEpoch int32 // leader epoch of the coordinator's partition
}

// Sizes in bytes of what a marker's record has at least.
const (
	markerKeySize   = 4 // version int16, type int16
	markerValueSize = 6 // version int16, coordinator epoch int32
)

// NewMarker returns a batch with a marker, as Kafka's coordinator writes it.
func NewMarker(m Marker, producerID int64, producerEpoch int16, timestampMillis int64) Batch {
	key := binary.BigEndian.AppendUint16(make([]byte, 2, markerKeySize), uint16(m.Type))
	value := binary.BigEndian.AppendUint32(make([]byte, 2, markerValueSize), uint32(m.CoordinatorEpoch))
	b := NewBuilder()
	b.SetProducer(producerID, producerEpoch, NoSequence)
	b.SetTransactional()
	b.SetControl()
	b.Add(timestampMillis, key, value)
	return Batch(b.Bytes())
}

// Marker returns the marker of a control batch. ok is false if the batch has none: it
// is no control batch, or its control record is of another kind, which ends no
// transaction. The error wraps ErrMalformed. It allocates nothing.
func (b Batch) Marker() (m Marker, ok bool, err error) {
	if !b.IsControl() || !b.HasProducerID() {
		return m, false, nil
	}
	if b.Codec() != None || b.Count() != 1 {
		return m, false, fmt.Errorf("%w: control batch of producer %d has %d records, compressed with %s", ErrMalformed, b.ProducerID(), b.Count(), b.Codec())
	}
	r, _, err := b.nextRecord(b.Payload())
	if err != nil {
		return m, false, err
	}
	if len(r.Key) < markerKeySize {
		return m, false, fmt.Errorf("%w: key of a control record has %d bytes", ErrMalformed, len(r.Key))
	}
	if version := int16(binary.BigEndian.Uint16(r.Key)); version < 0 {
		return m, false, fmt.Errorf("%w: control record of version %d", ErrMalformed, version)
	}
	m.Type = MarkerType(binary.BigEndian.Uint16(r.Key[2:]))
	if m.Type != Abort && m.Type != Commit {
		return Marker{}, false, nil
	}
	if len(r.Value) < markerValueSize {
		return Marker{}, false, fmt.Errorf("%w: value of a transaction marker has %d bytes", ErrMalformed, len(r.Value))
	}
	m.CoordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
	return m, true, nil
}
