package replica

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/core/metadata"
)

// checkpointFile holds the high watermarks, in Kafka's format with one more field: a
// line with the version, a line with the number of entries, and a line "topic
// partition offset topic-id" for each; then "crc" and the CRC-32C of all of that.
// Version 1 has no checksum, and version 0, which is Kafka's, no ids either.
//
// A mark that is too low costs nothing: it is found again from the other replicas. One
// that is too high would have a leader serve what was not committed, and a follower
// refuse to truncate it, and restoreMark cannot tell as long as the log has the
// offset. So what does not have its checksum is refused.
const checkpointFile = "replication-offset-checkpoint"

const checkpointVersion = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkpointKey names a partition. The topic's id is part of it: one that was deleted
// and created again must not begin with the mark of the old one, which may be above
// what was committed of the new one. It is zero for an entry of version 0.
type checkpointKey struct {
	topic     string
	partition int32
	id        metadata.UUID
}

// markOf returns the checkpointed high watermark of a partition, 0 if there is none.
func markOf(marks map[checkpointKey]int64, p *Partition) int64 {
	if mark, ok := marks[checkpointKey{p.topic, p.key.partition, p.key.topic}]; ok {
		return mark
	}
	return marks[checkpointKey{topic: p.topic, partition: p.key.partition}]
}

// checkpoint writes the high watermarks of all partitions, if they are not those that it
// wrote last: a broker that does nothing leaves the disk alone. One at a time.
func (m *Manager) checkpoint() error {
	parts := m.partitions.Load()
	if len(*parts) == 0 || parts == m.checkpointed && allCheckpointed(*parts) {
		return nil
	}
	marks := make(map[checkpointKey]int64, len(*parts))
	for _, p := range *parts {
		p.checkpointed = p.highWatermark.Load()
		marks[checkpointKey{p.topic, p.key.partition, p.key.topic}] = p.checkpointed
	}
	if err := writeCheckpoint(m.cfg.DataDir, marks); err != nil {
		return err
	}
	m.checkpointed = parts
	return nil
}

func allCheckpointed(parts map[partitionKey]*Partition) bool {
	for _, p := range parts {
		if p.checkpointed != p.highWatermark.Load() {
			return false
		}
	}
	return true
}

// writeCheckpoint replaces the file in one step: after a crash there is the old
// one or the new one.
func writeCheckpoint(dir string, marks map[checkpointKey]int64) error {
	path := filepath.Join(dir, checkpointFile)
	tmp := path + ".tmp"
	if err := writeSynced(tmp, encodeCheckpoint(marks)); err != nil {
		return fmt.Errorf("write high watermarks: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write high watermarks: %w", err)
	}
	return syncDir(dir)
}

func encodeCheckpoint(marks map[checkpointKey]int64) []byte {
	keys := make([]checkpointKey, 0, len(marks))
	for k := range marks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b checkpointKey) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), slices.Compare(a.id[:], b.id[:]))
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n%d\n", checkpointVersion, len(keys))
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %d %d %s\n", k.topic, k.partition, marks[k], k.id)
	}
	fmt.Fprintf(&b, "crc %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// CheckHighWatermarks tells what is wrong with the file of high watermarks in a data
// directory, for those who look at it offline; nil if nothing is, or it is not there.
func CheckHighWatermarks(dir string) error {
	_, err := readCheckpoint(dir)
	return err
}

// readCheckpoint returns the high watermarks of the last run, none if there are none.
func readCheckpoint(dir string) (map[checkpointKey]int64, error) {
	path := filepath.Join(dir, checkpointFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[checkpointKey]int64{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read high watermarks: %w", err)
	}
	marks, err := decodeCheckpoint(b)
	if err != nil {
		return nil, fmt.Errorf("read %s (it may be deleted: the marks are found again from the other replicas): %w", path, err)
	}
	return marks, nil
}

func decodeCheckpoint(b []byte) (map[checkpointKey]int64, error) {
	body, summed := withoutChecksum(b)
	lines := bufio.NewScanner(bytes.NewReader(body))
	number := func(what string) (int, error) {
		if !lines.Scan() {
			return 0, cmp.Or(lines.Err(), fmt.Errorf("%s is missing", what))
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return 0, fmt.Errorf("%s is not a number: %q", what, lines.Text())
		}
		return n, nil
	}
	version, err := number("version")
	if err != nil {
		return nil, err
	}
	if version < 0 || version > checkpointVersion {
		return nil, fmt.Errorf("version is %d, known are 0 to %d", version, checkpointVersion)
	}
	if version > 1 != summed {
		return nil, errors.New("its checksum is missing or does not match")
	}
	count, err := number("number of entries")
	if err != nil {
		return nil, err
	}
	marks := map[checkpointKey]int64{}
	for lines.Scan() {
		key, mark, err := decodeMark(lines.Text(), version)
		if err != nil {
			return nil, err
		}
		marks[key] = mark
	}
	if len(marks) != count {
		return nil, cmp.Or(lines.Err(), fmt.Errorf("%d entries instead of %d", len(marks), count))
	}
	return marks, lines.Err()
}

// withoutChecksum takes the last line away if it is the checksum of what is before it.
func withoutChecksum(b []byte) (body []byte, ok bool) {
	at := bytes.LastIndex(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) + 1
	if !bytes.Equal(b[at:], fmt.Appendf(nil, "crc %08x\n", crc32.Checksum(b[:at], castagnoli))) {
		return b, false
	}
	return b[:at], true
}

func decodeMark(line string, version int) (checkpointKey, int64, error) {
	fields := strings.Fields(line)
	if len(fields) != 3+min(version, 1) {
		return checkpointKey{}, 0, fmt.Errorf("not a topic, a partition and an offset: %q", line)
	}
	var id metadata.UUID
	if version > 0 {
		b, err := hex.DecodeString(fields[3])
		if err != nil || len(b) != len(id) {
			return checkpointKey{}, 0, fmt.Errorf("not a topic id: %q", line)
		}
		id = metadata.UUID(b)
	}
	partition, perr := strconv.ParseInt(fields[1], 10, 32)
	mark, oerr := strconv.ParseInt(fields[2], 10, 64)
	if err := errors.Join(perr, oerr); err != nil {
		return checkpointKey{}, 0, fmt.Errorf("not a topic, a partition and an offset: %q", line)
	}
	return checkpointKey{fields[0], int32(partition), id}, mark, nil
}
