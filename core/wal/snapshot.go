package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// decodeSnapshot reads a producer snapshot: one producer for each entry, with at
// most one batch, in the order of the file.
func decodeSnapshot(b []byte) ([]producer, error) {
	if len(b) < snapshotHeaderSize {
		return nil, errors.New("too short")
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("version is %d", v)
	}
	if binary.BigEndian.Uint32(b[snapshotCRCAt:]) != checksum(b[snapshotBodyAt:]) {
		return nil, errors.New("CRC does not match")
	}
	count := binary.BigEndian.Uint32(b[snapshotBodyAt:])
	b = b[snapshotHeaderSize:]
	if uint64(len(b)) != uint64(count)*snapshotEntrySize {
		return nil, fmt.Errorf("%d entries do not fill %d bytes", count, len(b))
	}
	entries := make([]producer, 0, count)
	for e := range slices.Chunk(b, snapshotEntrySize) {
		entries = append(entries, decodeSnapshotEntry(e))
	}
	return entries, nil
}

func decodeSnapshotEntry(e []byte) producer {
	p := producer{
		id:               int64(binary.BigEndian.Uint64(e)),
		epoch:            int16(binary.BigEndian.Uint16(e[8:])),
		timestamp:        int64(binary.BigEndian.Uint64(e[26:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
		txnFirst:         int64(binary.BigEndian.Uint64(e[38:])),
	}
	batch := producerBatch{
		lastSequence: int32(binary.BigEndian.Uint32(e[10:])),
		lastOffset:   int64(binary.BigEndian.Uint64(e[14:])),
		offsetDelta:  int32(binary.BigEndian.Uint32(e[22:])),
		timestamp:    p.timestamp,
	}
	if batch.lastOffset >= 0 {
		p.batches[0], p.n = batch, 1
	}
	return p
}

// load replaces the state by a snapshot's.
func (ps *producers) load(b []byte, now time.Time) error {
	entries, err := decodeSnapshot(b)
	if err != nil {
		return err
	}
	clear(ps.known)
	ps.begin()
	for _, e := range entries {
		e.seen = now
		if old := ps.known[e.id]; old != nil && old.epoch == e.epoch && e.n == 1 && old.n < producerBatches {
			batches, n := old.batches, old.n
			batches[n] = e.batches[0]
			e.batches, e.n = batches, n+1
		}
		ps.put(&e, now)
	}
	return nil
}
