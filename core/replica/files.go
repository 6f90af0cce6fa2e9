package replica

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/core/wal/filecache"
)

// minOpenFiles is what partitions get of a process that may open few files.
const minOpenFiles = 64

// maxOpenFiles is how many files of partitions may be open at a time. The other half
// of what the process may open is for connections.
func (c Config) maxOpenFiles() int {
	if c.MaxOpenFiles > 0 {
		return c.MaxOpenFiles
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return minOpenFiles
	}
	return int(max(minOpenFiles, min(limit.Cur/2, math.MaxInt32)))
}

// countFiles registers the figures of the open files.
func countFiles(files *filecache.Cache, reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "quorate_log_open_files", Help: "Files of partitions that are open."},
			func() float64 { return float64(files.Stats().Open) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "quorate_log_open_files_limit", Help: "Files of partitions that are kept open at most."},
			func() float64 { return float64(files.Stats().Limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "quorate_log_file_opens_total", Help: "Times that a file of a partition was opened."},
			func() float64 { return float64(files.Stats().Opens) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "quorate_log_file_evictions_total", Help: "Files of partitions that were closed to open others."},
			func() float64 { return float64(files.Stats().Evictions) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "quorate_log_file_eviction_syncs_total", Help: "Files that had to be synced before they could be closed to open others."},
			func() float64 { return float64(files.Stats().Syncs) }),
	)
}
