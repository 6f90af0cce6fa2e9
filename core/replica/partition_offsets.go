package replica

import "github.com/quorate/quorate/protocol"

// The timestamps with a meaning of their own in ListOffsets.
const (
	LatestTimestamp        int64 = -1
	EarliestTimestamp      int64 = -2
	MaxTimestamp           int64 = -3
	EarliestLocalTimestamp int64 = -4
)

// ListOffset answers ListOffsets: timestamp in milliseconds, or one of the
// constants above. By timestamp it is the first record that is not older. Offset
// -1 with a nil error means that there is no such record. currentEpoch is -1 if
// the client does not know. What lies behind the high watermark, for ReadCommitted the
// last stable offset, is not there yet.
//
// The error is that of Read, or OFFSET_NOT_AVAILABLE while a new leader does not
// know yet how far its predecessor's high watermark had come (KIP-207).
func (p *Partition) ListOffset(timestamp int64, currentEpoch int32, isolation Isolation) (offset, foundTimestamp int64, epoch int32, err error) {
	l, err := p.leading(currentEpoch)
	if err != nil {
		return -1, -1, -1, err
	}
	switch timestamp {
	case EarliestTimestamp, EarliestLocalTimestamp:
		return p.at(p.wal.Start())
	case LatestTimestamp:
		mark := p.highWatermark.Load()
		if mark < l.epochStart {
			return -1, -1, -1, protocol.Errorf(protocol.OffsetNotAvailable, "the high watermark of %s, %d, has not reached the start of leader epoch %d, %d", p, mark, l.epoch, l.epochStart)
		}
		return p.at(p.fetchable(isolation))
	}
	return p.atTimestamp(timestamp, p.fetchable(isolation))
}

// at is an offset with its epoch and no timestamp.
func (p *Partition) at(offset int64) (int64, int64, int32, error) {
	return offset, -1, p.wal.EpochAt(offset), nil
}

// atTimestamp finds a record by its timestamp, below end.
func (p *Partition) atTimestamp(timestamp, end int64) (offset, foundTimestamp int64, epoch int32, err error) {
	var found bool
	if timestamp == MaxTimestamp {
		offset, foundTimestamp, epoch, found, err = p.wal.MaxTimestamp()
	} else {
		offset, foundTimestamp, epoch, found, err = p.wal.OffsetForTime(timestamp)
	}
	switch {
	case err != nil:
		return -1, -1, -1, p.logError("look up a timestamp in", err)
	case !found || offset >= end:
		return -1, -1, -1, nil
	}
	return offset, foundTimestamp, epoch, nil
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch that is not above the
// one asked for, and the offset after its last record; -1 and -1 if there is none.
// The errors are those of Read.
func (p *Partition) EpochEnd(currentEpoch, epoch int32) (largest int32, end int64, err error) {
	l, err := p.leading(currentEpoch)
	if err != nil {
		return -1, -1, err
	}
	if epoch == l.epoch {
		return epoch, p.wal.End(), nil // also while it has no records yet
	}
	largest, end, ok := p.wal.EndOffsetForEpoch(epoch)
	if !ok || epoch > l.epoch {
		return -1, -1, nil
	}
	return largest, end, nil
}
