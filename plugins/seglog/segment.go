package seglog

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	segmentMagic   = "QSEGLOG1"
	segmentVersion = 1
	segmentHeader  = 24
	segmentSuffix  = ".seg"
	sparePrefix    = "spare-"
)

// segment is one file of the log.
type segment struct {
	sequence uint64
	name     string // base name
	file     File
	live     int          // entries that are the current ones of their group; Log.mu
	readers  atomic.Int64 // raised only under Log.mu; keeps the file from being used again
}

func segmentName(sequence uint64) string { return fmt.Sprintf("%016x%s", sequence, segmentSuffix) }

func parseSegmentName(name string) (sequence uint64, ok bool) {
	hex, found := strings.CutSuffix(name, segmentSuffix)
	if !found || len(hex) != 16 {
		return 0, false
	}
	sequence, err := strconv.ParseUint(hex, 16, 64)
	return sequence, err == nil && segmentName(sequence) == name
}

func appendSegmentHeader(dst []byte, sequence uint64) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, segmentVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, sequence)
	binary.LittleEndian.PutUint32(dst[start+12:], checksum(sequence, dst[start:start+12]))
	return dst
}

// checkSegmentHeader verifies the header of the segment that is named for
// sequence.
func checkSegmentHeader(b []byte, sequence uint64) error {
	switch {
	case len(b) < segmentHeader || string(b[:8]) != segmentMagic:
		return fmt.Errorf("not a segment")
	case binary.LittleEndian.Uint32(b[8:]) != segmentVersion:
		return fmt.Errorf("format version %d, want %d", binary.LittleEndian.Uint32(b[8:]), segmentVersion)
	case binary.LittleEndian.Uint64(b[16:]) != sequence:
		return fmt.Errorf("sequence %d in segment %d", binary.LittleEndian.Uint64(b[16:]), sequence)
	case binary.LittleEndian.Uint32(b[12:]) != checksum(sequence, b[:12]):
		return fmt.Errorf("header checksum is wrong")
	}
	return nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }
