package ring

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/quorate/quorate/core/wal/disk"
)

// Ring is a commit log in a directory. See the package comment.
type Ring struct {
	fsys disk.FS
	dir  string
	cfg  Config
	log  *slog.Logger

	// Of Open, Replay and Begin, before the first Commit.
	replay   checkpoint
	newest   uint64 // run of a file, the latest
	replayed bool   // lsn is the end
	began    bool

	// Of Commit.
	pos    int64 // in current
	pieces [][]byte

	mu      sync.Mutex
	files   []*file
	current *file // nil until the first Commit
	next    uint64
	lsn     uint64 // of the next frame
	numbers int    // files are named by; the next one
	largest int64  // size of the largest file, in bytes
}

// file is one of the ring's files. Ring.mu guards what changes.
type file struct {
	disk.File
	name     string
	size     int64  // bytes that were written at some time
	sequence uint64 // 0: free
	start    uint64 // LSN of its first frame
}

const fileSuffix = ".ring"

// fileName is the name of the file of that number; it never changes.
func fileName(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%04d%s", number, fileSuffix))
}

// Open opens the ring in dir, or makes the directory. Nothing is replayed yet.
// The errors are those of the disk, and a *DamageError if the checkpoint cannot be
// read; with unsafe the ring then begins anew.
func Open(fsys disk.FS, dir string, cfg Config, unsafe bool, log *slog.Logger) (*Ring, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Ring{fsys: fsys, dir: dir, cfg: cfg, log: log}
	if err := errors.Join(fsys.MkdirAll(dir), fsys.SyncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("make directory of the commit log: %w", err)
	}
	if err := r.openFiles(); err != nil {
		return nil, errors.Join(err, r.closeFiles())
	}
	if err := r.openCheckpoint(unsafe); err != nil {
		return nil, errors.Join(err, r.closeFiles())
	}
	return r, nil
}

// fileNumber is the number of a file's name; ok is false if it is no file of a ring.
func fileNumber(base string) (number int, ok bool) {
	digits, ok := strings.CutSuffix(base, fileSuffix)
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && number >= 0
}

func (r *Ring) openFiles() error { return r.openFilesAs(os.O_RDWR) }

func (r *Ring) openFilesAs(flag int) error {
	names, err := r.fsys.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("open commit log: %w", err)
	}
	for _, base := range names {
		number, ok := fileNumber(base)
		if !ok {
			continue
		}
		name := filepath.Join(r.dir, base)
		f, err := r.fsys.OpenFile(name, flag)
		if err != nil {
			return fmt.Errorf("open commit log: %w", err)
		}
		opened := &file{File: f, name: name}
		r.files = append(r.files, opened)
		r.numbers = max(r.numbers, number+1)
		if opened.size, err = f.Size(); err != nil {
			return fmt.Errorf("open commit log: %w", err)
		}
		r.largest = max(r.largest, opened.size)
	}
	return nil
}

// openCheckpoint reads the checkpoint. One is written before the first file is
// made, so a ring without it is new or was robbed.
func (r *Ring) openCheckpoint(unsafe bool) error {
	c, ok, err := readCheckpoint(r.fsys, r.dir)
	if !ok && err == nil && len(r.files) > 0 {
		err = &DamageError{File: filepath.Join(r.dir, checkpointName), Reason: "it is missing, and there is no commit log without one"}
	}
	if err != nil {
		if _, damaged := errors.AsType[*DamageError](err); !damaged || !unsafe {
			return err
		}
		r.log.Error("beginning the commit log anew as was asked for; acknowledged records may be lost", "error", err)
		c, err = r.beyondAll()
	}
	r.replay, r.lsn = c, c.lsn
	return err
}

// beyondAll returns a checkpoint behind everything that any file begins with.
func (r *Ring) beyondAll() (c checkpoint, err error) {
	for _, f := range r.files {
		d, ok, err := f.headerAt(0)
		if err != nil {
			return c, err
		}
		if ok {
			c.sequence = max(c.sequence, (runOf(d.sequence)+1)<<32)
			c.lsn = max(c.lsn, d.lsn+uint64(f.size))
		}
	}
	c.durable = c.lsn
	return c, nil
}

// State is what the caller gave to the last checkpoint before Open.
func (r *Ring) State() []byte { return r.replay.state }

// Begin makes the ring ready for Commit: what Replay gave is not needed any more,
// and state is what the next Open returns. The error may be a *DamageError.
func (r *Ring) Begin(state []byte) error {
	if r.began {
		return errors.New("commit log has begun already")
	}
	// A new run: frames that a crash left half written can never be taken for its own.
	run := max(runOf(r.replay.sequence), r.newest) + 1
	if run > math.MaxUint32/2 || r.lsn > math.MaxInt64/2 {
		return &DamageError{
			File:   filepath.Join(r.dir, checkpointName),
			Reason: fmt.Sprintf("run %d and LSN %d are more than any commit log reaches", run, r.lsn),
		}
	}
	r.next = run<<32 | 1
	if err := r.save(r.next, r.lsn, state); err != nil {
		return err
	}
	for _, f := range r.files {
		f.sequence = 0
	}
	r.began = true
	if len(r.files) > 0 {
		return nil
	}
	return r.Prepare()
}

// save writes the checkpoint.
func (r *Ring) save(sequence, lsn uint64, state []byte) error {
	r.mu.Lock()
	c := checkpoint{sequence: sequence, lsn: lsn, durable: r.lsn, state: state}
	r.mu.Unlock()
	if err := disk.ReplaceFile(r.fsys, filepath.Join(r.dir, checkpointName), c.encode()); err != nil {
		return fmt.Errorf("write checkpoint of the commit log: %w", err)
	}
	return nil
}

// Used is how many bytes no checkpoint has freed yet.
func (r *Ring) Used() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var used int64
	for _, f := range r.files {
		switch {
		case f == r.current:
			used += int64(r.lsn - f.start)
		case f.sequence != 0:
			used += f.size
		}
	}
	return used
}

// Wants tells if Prepare would make a file.
func (r *Ring) Wants() bool { return r.wanted() > 0 }

// Full is the number of the last file that is written to its end, 0 if there is
// none that a checkpoint could free, and the size of all that are.
func (r *Ring) Full() (sequence uint64, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.sequence != 0 && f != r.current {
			sequence = max(sequence, f.sequence)
			size += f.size
		}
	}
	return sequence, size
}

// Current is the number of the file that is written.
func (r *Ring) Current() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return 0
	}
	return r.current.sequence
}

// LSN is where the next frame begins. Between two Commits everything before it is
// durable.
func (r *Ring) LSN() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lsn
}

// Checkpoint makes it durable that a replay needs no file up to sequence, and frees
// those to be written again. May run beside Commit, not beside itself; and not beside
// Commit if the current file is one of those: the next Commit then begins another.
func (r *Ring) Checkpoint(sequence uint64, state []byte) error {
	from, lsn := r.after(sequence)
	if err := r.save(from, lsn, state); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil && r.current.sequence <= sequence {
		r.current = nil
	}
	for _, f := range r.files {
		if f.sequence <= sequence {
			f.sequence = 0
		}
	}
	return nil
}

// after is the first file behind sequence and where it begins.
func (r *Ring) after(sequence uint64) (from, lsn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, lsn = r.next, r.lsn
	for _, f := range r.files {
		if f.sequence > sequence && f.sequence < from {
			from, lsn = f.sequence, f.start
		}
	}
	return from, lsn
}

// Close closes the files. Nothing is synced: what Commit did not is not there.
func (r *Ring) Close() error { return r.closeFiles() }

func (r *Ring) closeFiles() (err error) {
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
