package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// prepareDirectory makes the data directory ready for the first image, once: it
// reads the high watermarks of the last run, and removes the directories of
// partitions that were deleted or moved away while this broker was down.
func (m *Manager) prepareDirectory(assigned map[partitionKey]assignment) error {
	if m.marks != nil {
		return nil
	}
	if err := os.MkdirAll(m.cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	marks, err := readCheckpoint(m.cfg.DataDir)
	if err != nil {
		return err
	}
	if err := m.removeStrays(assigned); err != nil {
		return err
	}
	if err := m.openCommitter(assigned); err != nil {
		return err
	}
	m.marks = marks
	return nil
}

// openCommitter opens the commit log, which brings the logs on disk up to date.
func (m *Manager) openCommitter(assigned map[partitionKey]assignment) (err error) {
	dirs := make(map[wal.Owner]string, len(assigned))
	for key, a := range assigned {
		dirs[wal.Owner{TopicID: key.topic, Partition: key.partition}] = m.partitionDir(a.topic.Name, key.partition)
	}
	resolve := func(o wal.Owner) (dir string, ok bool) {
		dir, ok = dirs[o]
		return dir, ok
	}
	m.committer, err = wal.OpenCommitter(m.cfg.commit(), resolve, m.log, wal.WithCommitFS(m.cfg.fs()), wal.WithCommitMetrics(m.registerer))
	return err
}

// partitionDir is where a replica's log is.
func (m *Manager) partitionDir(topic string, partition int32) string {
	return filepath.Join(m.cfg.DataDir, fmt.Sprintf("%s-%d", topic, partition))
}

// removeStrays removes partitions on disk that the image does not give to this
// broker. One of a topic that is there under another id was deleted and made again
// while the broker was down, or its partition.metadata is damaged: that cannot be told
// apart, so its directory is set aside and kept.
func (m *Manager) removeStrays(assigned map[partitionKey]assignment) error {
	names := make(map[string]bool, len(assigned))
	for key, a := range assigned {
		names[m.partitionDir(a.topic.Name, key.partition)] = true
	}
	strays, err := findStrays(m.cfg.DataDir, func(id metadata.UUID, topic string, partition int32) bool {
		a, known := assigned[partitionKey{id, partition}]
		return known && a.topic.Name == topic
	})
	if err != nil {
		return err
	}
	for _, s := range strays {
		to := wal.GoneName(s.Dir)
		if names[s.Dir] {
			to = wal.StrayName(s.Dir)
			m.log.Warn("a partition is another topic's of that name; it is set aside: remove the directory if the topic was deleted and made again",
				"topic", s.Topic, "partition", s.Partition, "topic_id", s.TopicID, "directory", to)
		} else {
			m.log.Info("removing a partition that was deleted or moved away", "topic", s.Topic, "partition", s.Partition, "topic_id", s.TopicID)
		}
		if err := os.Rename(s.Dir, to); err != nil {
			return fmt.Errorf("remove stray partition: %w", err)
		}
	}
	m.kickRemoval()
	return nil
}

// parsePartitionDir splits "orders-3". The topic may have dashes of its own.
func parsePartitionDir(name string) (topic string, partition int32, ok bool) {
	at := strings.LastIndexByte(name, '-')
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[at+1:], 10, 31)
	if err != nil || name[at+1:] != strconv.FormatUint(n, 10) {
		return "", 0, false
	}
	return name[:at], int32(n), true
}
