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
	"time"
)

// OpenForImport claims the data directory of a node whose metadata log is about
// to be imported into another backend, id's. export names what is imported, by
// its checksum: an import of the same export that was interrupted goes on where
// it was, and anything else that the backend has here from earlier days is moved
// aside, not removed.
//
// Adopt makes the directory id's once the import is complete.
func OpenForImport(path string, id Identity, export string) (*DataDir, error) {
	d, err := claim(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := d.prepareImport(id, export); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// CheckImport returns the backend whose metadata log a data directory has now,
// "unknown" if that was not written down. It is an error if the directory is not that
// of a node of id's cluster that ran before. Nothing is changed.
func CheckImport(path string, id Identity) (backend string, err error) {
	d := &DataDir{Path: path}
	return d.importsFrom(id)
}

func (d *DataDir) importsFrom(id Identity) (backend string, err error) {
	found, err := readProperties(filepath.Join(d.Path, metaFile))
	if err != nil {
		return "", fmt.Errorf("data directory %s has no owner: an import goes into the data directory of a node that ran before: %w", d.Path, err)
	}
	from := cmp.Or(found["quorate.backend"], "unknown")
	return from, d.belongs(Identity{ClusterID: id.ClusterID, NodeID: id.NodeID, Backend: from, Incarnation: id.Incarnation})
}

func (d *DataDir) prepareImport(id Identity, export string) error {
	from, err := d.importsFrom(id)
	if err != nil {
		return err
	}
	if from == id.Backend {
		return nil // imported already; it still helps the other nodes to finish
	}
	log := filepath.Join(d.Path, "consensus", id.Backend)
	begun, err := os.ReadFile(d.importMarker(id))
	switch {
	case err == nil && strings.TrimSpace(string(begun)) == export:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return unusable(d.Path, err)
	}
	if _, err := moveAside(log); err != nil {
		return unusable(d.Path, err)
	}
	if err := os.MkdirAll(log, 0o700); err != nil {
		return unusable(d.Path, err)
	}
	return writeDurably(d.importMarker(id), export+"\n")
}

// moveAside renames a folder, if it is there, and returns its new name.
func moveAside(path string) (string, error) {
	to := path + ".before-" + strconv.FormatInt(time.Now().UnixNano(), 10)
	err := os.Rename(path, to)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return to, err
}

func (d *DataDir) importMarker(id Identity) string {
	return filepath.Join(d.Path, "consensus", id.Backend+".import")
}

// Adopt makes the directory id's: the import is complete. The former backend's
// log stays where it is, for whoever wants to go back.
func (d *DataDir) Adopt(id Identity) error {
	if err := d.stamp(id); err != nil {
		return err
	}
	if err := os.Remove(d.importMarker(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable(d.Path, err)
	}
	return nil
}
