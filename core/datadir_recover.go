package core

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// incarnationKey is a key of metaFile.
const incarnationKey = "quorate.incarnation"

// IncarnationOf returns the incarnation of the cluster that the data directory
// belongs to; otherwise, if it has none. Empty means that of before any recovery.
func IncarnationOf(path, otherwise string) (string, error) {
	found, err := readProperties(filepath.Join(path, metaFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", unusable(path, err)
	}
	return cmp.Or(found[incarnationKey], otherwise), nil
}

// IdentityOf returns whose a data directory is, without claiming it.
func IdentityOf(path string) (Identity, error) {
	found, err := readProperties(filepath.Join(path, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, fmt.Errorf("%s is no node's data directory: it has no %s", path, metaFile)
	}
	if err != nil {
		return Identity{}, unusable(path, err)
	}
	node, err := strconv.ParseInt(found["node.id"], 10, 32)
	if err != nil {
		return Identity{}, fmt.Errorf("%s in %s is damaged: node.id is %q", metaFile, path, found["node.id"])
	}
	return Identity{ClusterID: found["cluster.id"], NodeID: int32(node), Backend: found["quorate.backend"], Incarnation: found[incarnationKey]}, nil
}

// Recovery is the data directory of a stopped node, the majority of whose cluster
// is lost for ever. The node's metadata log stays as it is while a new one, of a new
// incarnation of the cluster, is made beside it:
//
//	consensus/BACKEND            the log
//	consensus/BACKEND.recovery   the new one
//	consensus/BACKEND.recovered  the new one is complete; holds its incarnation
//
// Complete writes the last and then puts the new log into the place of the old one,
// which is kept under another name. Whatever interrupts that, a node does not start on
// half of it, and the next recovery finishes it.
type Recovery struct {
	*DataDir
	id Identity
}

// OpenForRecovery claims the data directory, which must be id's. If an earlier
// recovery was interrupted after the new log was complete, it is finished first, and
// its incarnation is returned.
func OpenForRecovery(path string, id Identity) (r *Recovery, finished string, err error) {
	d, err := claim(path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("data directory %s belongs to no node: set node/data_dir to that of a node that ran before", path)
	}
	if err != nil {
		return nil, "", err
	}
	r = &Recovery{DataDir: d, id: id}
	if err := d.belongs(id); err != nil {
		return nil, "", errors.Join(err, d.Close())
	}
	finished, err = r.recovered()
	if err == nil && finished != "" {
		_, err = r.swap(finished)
	}
	if err != nil {
		return nil, "", errors.Join(err, d.Close())
	}
	return r, finished, nil
}

// LogDir is where the node's metadata log is.
func (r *Recovery) LogDir() string { return filepath.Join(r.Path, "consensus", r.id.Backend) }

// NewLogDir makes an empty directory for the new log. What an earlier attempt left
// there is removed.
func (r *Recovery) NewLogDir() (string, error) {
	dir := r.LogDir() + ".recovery"
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", unusable(r.Path, err)
	}
	return dir, nil
}

// Complete puts the new log, which is whole and which nobody has open, into the place
// of the old one. It returns where the old one is now.
func (r *Recovery) Complete(incarnation string) (kept string, err error) {
	if err := writeDurably(r.marker(), incarnation+"\n"); err != nil {
		return "", unusable(r.Path, err)
	}
	return r.swap(incarnation)
}

// swap may have been interrupted anywhere, and be called again.
func (r *Recovery) swap(incarnation string) (kept string, err error) {
	built := r.LogDir() + ".recovery"
	_, err = os.Stat(built)
	switch {
	case err == nil:
		if kept, err = moveAside(r.LogDir()); err == nil {
			err = os.Rename(built, r.LogDir())
		}
	case errors.Is(err, fs.ErrNotExist): // it is in its place already
		err = nil
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(built))
	}
	if err != nil {
		return kept, unusable(r.Path, err)
	}
	id := r.id
	id.Incarnation = incarnation
	replica, err := ReplicaOf(r.Path, id)
	if err == nil {
		replica.State = ReplicaSettled // a learner, too: it is the only voter now
		err = r.stampWith(id, replica)
	}
	if err != nil {
		return kept, err
	}
	if err := os.Remove(r.marker()); err != nil {
		return kept, unusable(r.Path, err)
	}
	return kept, nil
}

func (d *DataDir) recoveryMarker(id Identity) string {
	return filepath.Join(d.Path, "consensus", id.Backend+".recovered")
}

func (r *Recovery) marker() string { return r.recoveryMarker(r.id) }

func (r *Recovery) recovered() (incarnation string, err error) {
	content, err := os.ReadFile(r.marker())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", unusable(r.Path, err)
	}
	return strings.TrimSpace(string(content)), nil
}

// checkRecovered refuses a directory in the middle of a recovery.
func (d *DataDir) checkRecovered(id Identity) error {
	_, err := os.Stat(d.recoveryMarker(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable(d.Path, err)
	}
	return fmt.Errorf("data directory %s is in the middle of a recovery: run quorate consensus recover again, which finishes it", d.Path)
}
