package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTicks is USER_HZ: the unit of times in /proc, the same on every Linux.
const clockTicks = 100

// Server is what the processes of the server used.
type Server struct {
	PIDs []int `json:"pids"` // with their children: a broker's plugin
	// CPUSeconds are user and system time of all of them, in the measured time.
	CPUSeconds float64 `json:"cpu_seconds"`
	// CPUSecondsPerGB is the same per 10^9 bytes of values.
	CPUSecondsPerGB float64 `json:"cpu_seconds_per_gb"`
	RSSBytes        int64   `json:"rss_bytes"`      // at the end
	PeakRSSBytes    int64   `json:"peak_rss_bytes"` // since the processes began
}

// usage is what some processes have used so far.
type usage struct {
	pids      []int
	cpu       time.Duration
	rss, peak int64
}

// usageOf reads /proc for the processes and all below them.
func usageOf(roots []int) (usage, error) {
	var u usage
	if len(roots) == 0 {
		return u, nil
	}
	children, err := processTree()
	if err != nil {
		return u, err
	}
	for todo := roots; len(todo) > 0; todo = todo[1:] {
		if err := u.add(todo[0]); err != nil && (slices.Contains(roots, todo[0]) || !errors.Is(err, fs.ErrNotExist)) {
			return u, err // a child may have ended meanwhile
		}
		todo = append(todo, children[todo[0]]...)
	}
	return u, nil
}

// processTree is every process's children.
func processTree() (map[int][]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range files {
		fields, err := statFields(name)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name))) // the pattern says that it is a number
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// statFields are the fields of a stat file after the name of the program, which may
// contain anything: state, parent and so on (proc_pid_stat(5), from the third).
func statFields(name string) ([]string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	_, after, ok := strings.Cut(string(b)[max(0, strings.LastIndexByte(string(b), ')')):], ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 15 {
		return nil, fmt.Errorf("%s is not understood: %q", name, b)
	}
	return fields, nil
}

// add adds one process, and its children that have ended and were waited for.
func (u *usage) add(pid int) error {
	fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Errorf("process %d of the server: %w", pid, err)
	}
	ticks := int64(0)
	for _, f := range fields[11:15] { // utime stime cutime cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return fmt.Errorf("process %d of the server: %w", pid, err)
		}
		ticks += n
	}
	rss, peak, err := memoryOf(pid)
	if err != nil {
		return err
	}
	u.pids = append(u.pids, pid)
	u.cpu += time.Duration(ticks) * time.Second / clockTicks
	u.rss, u.peak = u.rss+rss, u.peak+peak
	return nil
}

func memoryOf(pid int) (rss, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("process %d of the server: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case fields[0] == "VmRSS:" && err == nil:
			rss = n << 10
		case fields[0] == "VmHWM:" && err == nil:
			peak = n << 10
		}
	}
	return rss, peak, nil
}

// between is what was used from a to b for so many bytes.
func between(a, b usage, bytes int64) *Server {
	if len(b.pids) == 0 {
		return nil
	}
	s := &Server{PIDs: b.pids, CPUSeconds: (b.cpu - a.cpu).Seconds(), RSSBytes: b.rss, PeakRSSBytes: b.peak}
	if bytes > 0 {
		s.CPUSecondsPerGB = s.CPUSeconds / (float64(bytes) / 1e9)
	}
	return s
}

// ownCPU is the time that this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0 // cannot fail with this argument
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
