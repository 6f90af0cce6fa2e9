package wal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Names of the files in a log's directory. Those with a base offset in front are
// a segment's.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted"

	// Behind the names of a segment's files: written by a compaction and not complete;
	// complete, and about to take the place of those without.
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"

	epochsFile     = "leader-epoch-checkpoint"
	metadataFile   = "partition.metadata"
	checkpointFile = "log-checkpoint"
	cleanFile      = "clean-shutdown"
)

// offsetName is Kafka's name for a file of an offset: 20 digits and the suffix.
func offsetName(dir string, offset int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", offset, suffix))
}

// parseOffsetName is the offset of a file name with that suffix.
func parseOffsetName(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, err == nil && offset >= 0
}
