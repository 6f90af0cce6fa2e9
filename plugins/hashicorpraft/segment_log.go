package hashicorpraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// The groups of the segment log. The log is one; what the library calls stable
// is the data of the other one's mark, of which the newest counts.
const (
	entriesGroup = 1
	stableGroup  = 2
)

// maxStableBytes bounds what the library keeps beside its log: a term and a vote.
const maxStableBytes = 64 << 10

// segmentLog is a log on plugins/seglog, as the library wants it. Every call
// that changes something is one write and one sync, see append.
type segmentLog struct {
	log    *seglog.Log
	closed atomic.Bool

	mu     sync.Mutex // one writer of stable at a time
	stable map[string][]byte
}

var _ wal = (*segmentLog)(nil)

func openSegmentLog(dir string, segmentBytes int) (wal, error) {
	cfg := seglog.DefaultConfig()
	cfg.SegmentBytes = int64(segmentBytes)
	l, err := seglog.Open(dir, cfg, seglog.OS(), slog.Default().With("component", "seglog"))
	if err != nil {
		return nil, err
	}
	info, _ := l.Info(stableGroup)
	stable, err := decodeStable(info.Mark.Data)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &segmentLog{log: l, stable: stable}, nil
}

// extent returns the first and the last index, both 0 if there is no entry.
func (s *segmentLog) extent() (first, last uint64) {
	info, _ := s.log.Info(entriesGroup)
	if info.First > info.Last {
		return 0, 0
	}
	return info.First, info.Last
}

// FirstIndex implements raft.LogStore.
func (s *segmentLog) FirstIndex() (uint64, error) {
	first, _ := s.extent()
	return first, nil
}

// LastIndex implements raft.LogStore.
func (s *segmentLog) LastIndex() (uint64, error) {
	_, last := s.extent()
	return last, nil
}

// GetLog implements raft.LogStore. The data is shared with the segment log.
func (s *segmentLog) GetLog(index uint64, l *raft.Log) error {
	entries, err := s.read(index, index+1, math.MaxInt64)
	if err != nil {
		return err
	}
	return decodeLog(entries[0], l)
}

var _ ranged = (*segmentLog)(nil)

// GetLogs implements ranged.
func (s *segmentLog) GetLogs(from, last uint64, maxBytes int) ([]raft.Log, error) {
	_, end := s.extent()
	entries, err := s.read(from, min(last, max(from, end))+1, int64(maxBytes))
	if err != nil {
		return nil, err
	}
	logs := make([]raft.Log, len(entries))
	for i, e := range entries {
		if err := decodeLog(e, &logs[i]); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

func (s *segmentLog) read(from, to uint64, maxBytes int64) ([]seglog.Entry, error) {
	entries, err := s.log.Entries(entriesGroup, from, to, maxBytes)
	switch {
	case s.closed.Load(): // what is in the cache could still be read
		return nil, fmt.Errorf("%w: the log is closed", consensus.ErrShuttingDown)
	case errors.Is(err, seglog.ErrCompacted), errors.Is(err, seglog.ErrUnavailable):
		return nil, raft.ErrLogNotFound
	}
	return entries, err
}

// StoreLog implements raft.LogStore.
func (s *segmentLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. An empty log may go on anywhere: a
// snapshot is in place of what is missing.
func (s *segmentLog) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	w := seglog.Write{Group: entriesGroup, Entries: encodeLogs(logs)}
	info, _ := s.log.Info(entriesGroup)
	if before := logs[0].Index - 1; info.First > info.Last && before > info.Last {
		w.Mark = &seglog.Mark{Index: before, CompactedIndex: before}
	}
	return s.append(w)
}

// DeleteRange implements raft.LogStore: from the beginning of the log, or up to
// its end.
func (s *segmentLog) DeleteRange(from, to uint64) error {
	first, last := s.extent()
	w := seglog.Write{Group: entriesGroup}
	switch from = max(from, first); {
	case last == 0 || from > to || from > last:
		return nil
	case to >= last:
		w.Truncate = from
	case from == first:
		term, err := s.log.Term(entriesGroup, to)
		if err != nil {
			return err
		}
		w.Mark = &seglog.Mark{Index: to, CompactedIndex: to, CompactedTerm: term}
	default:
		return fmt.Errorf("delete %d to %d from the middle of %d to %d", from, to, first, last)
	}
	return s.append(w)
}

// append makes w durable, and then writes a record that says nothing but that the
// log is on stable storage up to here. That one is not synced. It is what tells
// damage to w from a torn write: without it the newest write, acknowledged or
// not, would just be cut off.
func (s *segmentLog) append(w seglog.Write) error {
	if err := s.log.Append(true, w); err != nil {
		return err
	}
	return s.log.Append(false, seglog.Write{Group: stableGroup, State: &seglog.State{}})
}

// Set implements raft.StableStore.
func (s *segmentLog) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stable := maps.Clone(s.stable)
	stable[string(key)] = slices.Clone(value)
	data := encodeStable(stable)
	if len(data) > maxStableBytes {
		return fmt.Errorf("set %q: %d bytes beside the log, at most %d", key, len(data), maxStableBytes)
	}
	if err := s.append(seglog.Write{Group: stableGroup, Mark: &seglog.Mark{Data: data}}); err != nil {
		return err
	}
	s.stable = stable
	return nil
}

// Get implements raft.StableStore: nothing for a key that was not set.
func (s *segmentLog) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stable[string(key)]), nil
}

// SetUint64 implements raft.StableStore.
func (s *segmentLog) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore: 0 for a key that was not set.
func (s *segmentLog) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || len(value) == 0 {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: %q is no number", consensus.ErrStorageFailed, key)
	}
	return binary.BigEndian.Uint64(value), nil
}

// Close syncs and closes the log.
func (s *segmentLog) Close() error {
	s.closed.Store(true)
	return s.log.Close()
}

// encodeLogs returns logs as the segment log stores them. In front of the data
// is when the leader appended it (unix nanoseconds, 8 bytes, 0 for never) and
// the library's extensions with their length (uvarint).
func encodeLogs(logs []*raft.Log) []seglog.Entry {
	size := 0
	for _, l := range logs {
		size += 8 + binary.MaxVarintLen32 + len(l.Extensions) + len(l.Data)
	}
	buf, entries := make([]byte, 0, size), make([]seglog.Entry, len(logs))
	for i, l := range logs {
		start, appended := len(buf), uint64(0)
		if !l.AppendedAt.IsZero() {
			appended = uint64(l.AppendedAt.UnixNano())
		}
		buf = binary.BigEndian.AppendUint64(buf, appended)
		buf = binary.AppendUvarint(buf, uint64(len(l.Extensions)))
		buf = append(append(buf, l.Extensions...), l.Data...)
		entries[i] = seglog.Entry{Index: l.Index, Term: l.Term, Type: uint8(l.Type), Data: buf[start:len(buf):len(buf)]}
	}
	return entries
}

func decodeLog(e seglog.Entry, l *raft.Log) error {
	malformed := fmt.Errorf("%w: entry %d is not one of this backend's", consensus.ErrStorageFailed, e.Index)
	if len(e.Data) < 9 {
		return malformed
	}
	*l = raft.Log{Index: e.Index, Term: e.Term, Type: raft.LogType(e.Type)}
	if appended := binary.BigEndian.Uint64(e.Data); appended != 0 {
		l.AppendedAt = time.Unix(0, int64(appended))
	}
	extensions, data, ok := cutField(e.Data[8:])
	if !ok {
		return malformed
	}
	if len(extensions) > 0 {
		l.Extensions = extensions
	}
	if len(data) > 0 {
		l.Data = data
	}
	return nil
}

// encodeStable writes keys and values, each with its length, keys ascending.
func encodeStable(stable map[string][]byte) []byte {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(stable)) {
		for _, field := range [][]byte{[]byte(key), stable[key]} {
			b = append(binary.AppendUvarint(b, uint64(len(field))), field...)
		}
	}
	return b
}

func decodeStable(b []byte) (map[string][]byte, error) {
	stable := map[string][]byte{}
	for len(b) > 0 {
		key, rest, ok := cutField(b)
		value, rest, whole := cutField(rest)
		if !ok || !whole {
			return nil, fmt.Errorf("%w: what the log has of terms and votes is malformed", consensus.ErrStorageFailed)
		}
		stable[string(key)], b = value, rest
	}
	return stable, nil
}

// cutField cuts a field with its length off b.
func cutField(b []byte) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return b[n:end:end], b[end:len(b):len(b)], true
}
