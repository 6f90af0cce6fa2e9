package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// Stray is a partition on disk that an image does not give to the broker whose disk
// it is. When the broker starts with that image, nobody can read its records any more:
// they are removed, or, if the image has another topic of that name, set aside.
type Stray struct {
	Topic     string
	Partition int32
	TopicID   metadata.UUID
	Dir       string
	Bytes     int64  // of all its files
	Why       string // what the image says instead, as the end of a sentence
}

// String returns the partition's name.
func (s Stray) String() string { return fmt.Sprintf("%s-%d", s.Topic, s.Partition) }

// Strays returns the partitions in a data directory that img does not give to
// broker, by name. Nothing is changed. Directories that were deleted already, or
// have no topic id, are none. A directory that is not there has none.
func Strays(dataDir string, broker int32, img *metadata.Image) ([]Stray, error) {
	given := func(id metadata.UUID, topic string, partition int32) bool {
		return whyStray(img, broker, id, topic, partition) == ""
	}
	strays, err := findStrays(dataDir, given)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for i := range strays {
		s := &strays[i]
		s.Why = whyStray(img, broker, s.TopicID, s.Topic, s.Partition)
		var sizeErr error
		s.Bytes, sizeErr = sizeOf(s.Dir)
		err = errors.Join(err, sizeErr)
	}
	return strays, err
}

// whyStray returns "" if img gives the partition to the broker.
func whyStray(img *metadata.Image, broker int32, id metadata.UUID, topic string, partition int32) string {
	t, ok := img.TopicByID(id)
	switch {
	case !ok:
		if other, again := img.Topic(topic); again {
			return fmt.Sprintf("has another topic %s, with id %s", topic, other.ID)
		}
		return "has no such topic"
	case t.Name != topic:
		return fmt.Sprintf("has that id for topic %s", t.Name)
	}
	p := img.Partition(id, partition)
	switch {
	case p == nil:
		return fmt.Sprintf("has no more than %d partitions of it", len(t.Partitions))
	case !slices.Contains(p.Replicas, broker):
		return fmt.Sprintf("gives it to the brokers %s", strings.Trim(fmt.Sprint(p.Replicas), "[]"))
	}
	return ""
}

// findStrays returns the partitions in a data directory that are not given to the
// broker. A topic that was created again has another id, so the directory of the old
// one is a stray too. Directories without a topic id are not ours to judge.
func findStrays(dataDir string, given func(id metadata.UUID, topic string, partition int32) bool) (out []Stray, err error) {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("list data directory: %w", err)
	}
	for _, e := range entries {
		topic, partition, ok := parsePartitionDir(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		dir := filepath.Join(dataDir, e.Name())
		raw, ok, err := wal.ReadTopicID(dir)
		if err != nil {
			return nil, fmt.Errorf("read topic id of %s: %w", dir, err)
		}
		if id := metadata.UUID(raw); ok && !given(id, topic, partition) {
			out = append(out, Stray{Topic: topic, Partition: partition, TopicID: id, Dir: dir})
		}
	}
	return out, nil
}

func sizeOf(dir string) (bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return bytes, err
		}
		bytes += info.Size()
	}
	return bytes, nil
}
