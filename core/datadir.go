package core

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/core/wal"
)

// Identity is whom a data directory belongs to.
type Identity struct {
	ClusterID string
	NodeID    int32
	Backend   string // that keeps the metadata log
	// Incarnation is that of a recovered cluster; empty before any recovery. A
	// directory that has one keeps it.
	Incarnation string
}

// DataDir is a data directory that this process holds.
type DataDir struct {
	Path string
	lock *os.File
}

// metaFile has Kafka's name and format, with keys of our own.
const metaFile = "meta.properties"

// CheckDataDir reports what OpenDataDir would, and neither makes nor changes
// anything: a directory without an owner is fine.
func CheckDataDir(path string, id Identity) error {
	if _, err := os.Stat(filepath.Join(path, metaFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d, err := claim(path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return (&DataDir{Path: path}).check(id) // restored without its lock
	}
	if err != nil {
		return err
	}
	return errors.Join(d.check(id), d.Close())
}

// check is everything that must be right with a directory that has an owner.
func (d *DataDir) check(id Identity) error {
	if err := d.belongs(id); err != nil {
		return err
	}
	return d.whole(id)
}

// OpenDataDir claims a data directory for this process and checks that it is
// whose it should be; an empty one is stamped. The error is one sentence for the
// operator: what is wrong, and the way out.
func OpenDataDir(path string, id Identity) (*DataDir, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, unusable(path, err)
	}
	d, err := claim(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	err = d.check(id)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.begin(id)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenOwnDataDir claims a data directory that must be id's already: nothing is
// made or stamped, so that a command given the wrong directory leaves no trace.
func OpenOwnDataDir(path string, id Identity) (*DataDir, error) {
	if _, err := os.Stat(filepath.Join(path, metaFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory %s belongs to no node yet: set node/data_dir to that of a node that ran before", path)
	}
	d, err := claim(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := d.check(id); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// claim locks a directory for this process.
func claim(path string, flags int) (*DataDir, error) {
	lock, err := os.OpenFile(filepath.Join(path, ".lock"), flags, 0o640)
	if err != nil {
		return nil, unusable(path, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by another quorate process: stop that one, or set node/data_dir to another directory", path), lock.Close())
	}
	return &DataDir{Path: path, lock: lock}, nil
}

// unusable says why a directory cannot be used, without the calls that found out.
func unusable(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Errorf("data directory %s cannot be used: %w; make it writable for this user, or set node/data_dir to another directory", path, err)
}

// Close gives the directory up.
func (d *DataDir) Close() error { return d.lock.Close() }

// belongs compares the stamp with id. The error is fs.ErrNotExist if there is none.
func (d *DataDir) belongs(id Identity) error {
	file := filepath.Join(d.Path, metaFile)
	found, err := readProperties(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, p := range []struct{ key, owner, want, setting, fix string }{
		{"cluster.id", "cluster", id.ClusterID, "cluster/id", "set it back, or start with an empty data directory"},
		{"node.id", "node", strconv.Itoa(int(id.NodeID)), "node/id", "set it back, or give this node a data directory of its own"},
		{"quorate.backend", "backend", id.Backend, "consensus/backend", "set it back, or start with an empty data directory"},
	} {
		if found[p.key] != p.want {
			return fmt.Errorf("data directory %s belongs to %s %q, says %s, but %s is %q: %s", d.Path, p.owner, found[p.key], metaFile, p.setting, p.want, p.fix)
		}
	}
	if own := found[incarnationKey]; id.Incarnation != "" && own != id.Incarnation {
		return fmt.Errorf("data directory %s belongs to incarnation %q of the cluster, but consensus/incarnation is %q: what it has is of before a recovery; start with an empty data directory", d.Path, own, id.Incarnation)
	}
	return nil
}

// whole refuses partitions without the metadata log that says what they are. A
// broker that starts with an empty log takes every partition for a deleted one
// and removes it.
func (d *DataDir) whole(id Identity) error {
	if err := d.checkRecovered(id); err != nil {
		return err
	}
	if kept, err := os.ReadDir(filepath.Join(d.Path, "consensus", id.Backend)); len(kept) > 0 {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable(d.Path, err)
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return unusable(d.Path, err)
	}
	if !slices.ContainsFunc(entries, d.isPartition) {
		return nil
	}
	return fmt.Errorf("data directory %s has partitions but no metadata log in consensus/%s, without which they would be removed: restore it, or start with an empty data directory", d.Path, id.Backend)
}

func (d *DataDir) isPartition(e fs.DirEntry) bool {
	_, ok, err := wal.ReadTopicID(filepath.Join(d.Path, e.Name()))
	return ok || err != nil && e.IsDir()
}

// begin gives a directory without an owner its first.
func (d *DataDir) begin(id Identity) error {
	if err := d.whole(id); err != nil {
		return err
	}
	return d.stamp(id)
}

// stamp writes whose the directory is. The replica that it has stays.
func (d *DataDir) stamp(id Identity) error {
	r, err := ReplicaOf(d.Path, id)
	if err != nil {
		return fmt.Errorf("stamp data directory: %w", err)
	}
	return d.stampWith(id, r)
}

func (d *DataDir) stampWith(id Identity, r Replica) error {
	content := fmt.Sprintf("# Whose data this is. Changing it does not change the data.\nversion=1\ncluster.id=%s\nnode.id=%d\nquorate.backend=%s\n", id.ClusterID, id.NodeID, id.Backend)
	own, err := IncarnationOf(d.Path, "")
	if err != nil {
		return fmt.Errorf("stamp data directory: %w", err)
	}
	if incarnation := cmp.Or(id.Incarnation, own); incarnation != "" {
		content += incarnationKey + "=" + incarnation + "\n"
	}
	content += r.properties()
	if err := writeDurably(filepath.Join(d.Path, metaFile), content); err != nil {
		return fmt.Errorf("stamp data directory: %w", err)
	}
	return nil
}

// writeDurably makes a file appear whole or not at all.
func writeDurably(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readProperties(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		out[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return out, lines.Err()
}
