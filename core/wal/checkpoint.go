package wal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quorate/quorate/core/wal/disk"
)

// checkpoint is what a log remembers besides its records.
type checkpoint struct {
	// start is the first offset that is readable; segments below it may be gone.
	start int64
	// recoveryPoint is the base of a segment: everything before it is on stable
	// storage and complete, so damage there was not left by a crash.
	recoveryPoint int64
	// gaps says that offsets may be missing between batches: the log was compacted,
	// here or where it was copied from. Else every batch begins where the one before
	// it ends, and what does not is damaged.
	gaps bool
	// clean is the offset before which a compaction has seen every record: no key has
	// two there. 0 without gaps.
	clean int64
}

// checkpointVersion is the first line of the files that this package invented.
// Version 0 had no checksum at the end, and is still read.
const checkpointVersion = 1

// withChecksum is a small file: the version, text, and if the version has one the
// CRC-32C of both.
func withChecksum(version int, text string) []byte {
	b := fmt.Appendf(nil, "%d\n%s", version, text)
	if version == 0 {
		return b
	}
	return fmt.Appendf(b, "crc %08x\n", checksum(b))
}

// readsAs tells if b is what encode makes of a version that can be read.
func readsAs(b []byte, encode func(version int) []byte) bool {
	for version := range checkpointVersion + 1 {
		if bytes.Equal(b, encode(version)) {
			return true
		}
	}
	return false
}

func (c checkpoint) encode(version int) []byte {
	text := fmt.Sprintf("start %d\nrecovery-point %d\n", c.start, c.recoveryPoint)
	if c.gaps {
		text += fmt.Sprintf("clean %d\n", c.clean)
	}
	return withChecksum(version, text)
}

// readCheckpoint reads log-checkpoint; without one everything begins at 0.
func readCheckpoint(fsys FS, dir string) (c checkpoint, err error) {
	name := filepath.Join(dir, checkpointFile)
	b, err := disk.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	var version int
	_, err = fmt.Sscanf(string(b), "%d\nstart %d\nrecovery-point %d\n", &version, &c.start, &c.recoveryPoint)
	if err == nil {
		c.gaps, c.clean, err = decodeClean(b)
	}
	if err != nil || !readsAs(b, c.encode) || c.start < 0 || c.recoveryPoint < 0 || c.clean < 0 {
		return c, &CorruptError{File: name, Reason: "it is not a checkpoint of this version, or its checksum does not match"}
	}
	return c, nil
}

// decodeClean reads the line of a checkpoint that only a log with gaps has.
func decodeClean(b []byte) (gaps bool, clean int64, err error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) < 4 || !strings.HasPrefix(lines[3], "clean ") {
		return false, 0, nil
	}
	_, err = fmt.Sscanf(lines[3], "clean %d", &clean)
	return true, clean, err
}

// cleanMarker says how a log looked when it was closed. Open believes it only if
// the log still looks so: a marker whose removal a power cut undid does no harm.
type cleanMarker struct {
	end        int64 // offset
	activeBase int64 // offset
	activeSize int64 // bytes
}

func (m cleanMarker) encode(version int) []byte {
	return withChecksum(version, fmt.Sprintf("end %d\nactive %d %d\n", m.end, m.activeBase, m.activeSize))
}

// readCleanMarker reads clean-shutdown; ok is false if there is none that can be read.
func readCleanMarker(fsys FS, dir string) (m cleanMarker, ok bool) {
	b, err := disk.ReadFile(fsys, filepath.Join(dir, cleanFile))
	if err != nil {
		return m, false
	}
	var version int
	_, err = fmt.Sscanf(string(b), "%d\nend %d\nactive %d %d\n", &version, &m.end, &m.activeBase, &m.activeSize)
	return m, err == nil && readsAs(b, m.encode)
}

// encodeEpochs is Kafka's leader-epoch-checkpoint: version, count, one line for each.
func encodeEpochs(epochs []epochStart) []byte {
	b := fmt.Appendf(nil, "0\n%d\n", len(epochs))
	for _, e := range epochs {
		b = fmt.Appendf(b, "%d %d\n", e.epoch, e.start)
	}
	return b
}

// decodeEpochs reads what encodeEpochs writes.
func decodeEpochs(b []byte) ([]epochStart, error) {
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 2 || lines[0] != "0" || lines[1] != strconv.Itoa(len(lines)-2) {
		return nil, errors.New("version or count is wrong")
	}
	epochs := make([]epochStart, 0, len(lines)-2)
	for i, line := range lines[2:] {
		var e epochStart
		if _, err := fmt.Sscanf(line, "%d %d", &e.epoch, &e.start); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+3, err)
		}
		if e.epoch < 0 || e.start < 0 || i > 0 && (e.epoch <= epochs[i-1].epoch || e.start < epochs[i-1].start) {
			return nil, fmt.Errorf("line %d: epochs and offsets must grow", i+3)
		}
		epochs = append(epochs, e)
	}
	return epochs, nil
}

// readEpochs reads leader-epoch-checkpoint; no file means no epochs.
func readEpochs(fsys FS, dir string) ([]epochStart, error) {
	name := filepath.Join(dir, epochsFile)
	b, err := disk.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	epochs, err := decodeEpochs(b)
	if err != nil {
		return nil, &CorruptError{File: name, Reason: err.Error()}
	}
	return epochs, nil
}

// encodeTopicID is Kafka's partition.metadata.
func encodeTopicID(id [16]byte) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", base64.RawURLEncoding.EncodeToString(id[:]))
}

// ReadTopicID reads the topic id from dir's partition.metadata. ok is false if
// there is none.
func ReadTopicID(dir string) (id [16]byte, ok bool, err error) { return readTopicID(disk.OS{}, dir) }

func readTopicID(fsys FS, dir string) (id [16]byte, ok bool, err error) {
	name := filepath.Join(dir, metadataFile)
	b, err := disk.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	var text string
	if _, err := fmt.Sscanf(string(b), "version: 0\ntopic_id: %s", &text); err != nil {
		return id, false, &CorruptError{File: name, Reason: "it has no topic id"}
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return id, false, &CorruptError{File: name, Reason: fmt.Sprintf("%q is not a topic id", text)}
	}
	return [16]byte(raw), true, nil
}
