package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
)

// survivor is what is left of the metadata log on one node's disk.
type survivor struct {
	node    int32
	dir     string // the node's data directory
	written time.Time
	extent  consensus.Extent
	image   *metadata.Image
}

// salvagerOf returns the backend that can read what a stopped node has.
func salvagerOf(cfg configs.Config) (consensus.Salvager, error) {
	if newBackend, ok := backends[cfg.Consensus.Backend]; ok {
		if s, ok := newBackend().(consensus.Salvager); ok {
			return s, nil
		}
	}
	return nil, fmt.Errorf("backend %s cannot be recovered by this command: it has no way to read a log without its peers; use what its author offers, or restore a backup of the data directory", cfg.Consensus.Backend)
}

// salvageArchive takes the metadata from an archive.
func salvageArchive(cfg configs.Config, file string) (survivor, error) {
	r, img, err := readArchive(file)
	if err != nil {
		return survivor{}, err
	}
	if img.ClusterID != cfg.Cluster.ID {
		return survivor{}, fmt.Errorf("%s is of cluster %q, not %q", file, img.ClusterID, cfg.Cluster.ID)
	}
	h := r.Header
	return survivor{
		node: cfg.Node.ID, dir: file, written: h.Created, image: img,
		extent: consensus.Extent{Term: h.Term, LastTerm: h.Term, LastIndex: h.Index, Committed: h.Index, SnapshotIndex: h.Index},
	}, nil
}

// salvageAll reads what this node has in log, and what each of the other data
// directories has.
func salvageAll(s consensus.Salvager, cfg configs.Config, log string, others []string) ([]survivor, error) {
	own, err := salvage(s, cfg, survivor{node: cfg.Node.ID, dir: cfg.Node.DataDir}, log)
	if err != nil {
		return nil, err
	}
	all := []survivor{own}
	for _, dir := range others {
		id, err := core.IdentityOf(dir)
		switch {
		case err != nil:
			return nil, err
		case id.ClusterID != cfg.Cluster.ID || id.Backend != cfg.Consensus.Backend:
			return nil, fmt.Errorf("%s is of cluster %s and backend %s, not of cluster %s and backend %s: it cannot help here", dir, id.ClusterID, id.Backend, cfg.Cluster.ID, cfg.Consensus.Backend)
		case id.NodeID == cfg.Node.ID:
			return nil, fmt.Errorf("%s is of node %d itself: --survivor takes the data directories of others", dir, id.NodeID)
		}
		ours, err := core.IncarnationOf(cfg.Node.DataDir, "")
		if err != nil {
			return nil, err
		}
		if id.Incarnation != ours {
			return nil, fmt.Errorf("%s is of incarnation %q of the cluster, this node of %q: it cannot help here", dir, id.Incarnation, ours)
		}
		other, err := salvage(s, cfg, survivor{node: id.NodeID, dir: dir}, filepath.Join(dir, "consensus", id.Backend))
		if err != nil {
			return nil, err
		}
		all = append(all, other)
	}
	return all, nil
}

// salvage reads a copy of a log, so that nothing of the survivor is touched.
func salvage(s consensus.Salvager, cfg configs.Config, who survivor, log string) (_ survivor, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the metadata log of node %d in %s: %w", who.node, log, err)
		}
	}()
	options, err := json.Marshal(cfg.Consensus.Options)
	if err != nil {
		return who, err
	}
	tmp, err := os.MkdirTemp(filepath.Join(cfg.Node.DataDir, "consensus"), "salvage-*")
	if err != nil {
		return who, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if who.written, err = copyTree(log, tmp); err != nil {
		return who, err
	}
	remains, err := s.Salvage(tmp, options, consensus.Metadata)
	if err != nil {
		return who, err
	}
	who.extent = remains.Extent()
	who.image, err = metadata.Salvage(remains)
	if err = errors.Join(err, remains.Close()); err != nil {
		return who, err
	}
	if who.image.ClusterID != cfg.Cluster.ID {
		return who, fmt.Errorf("it says that it is of cluster %q, not %q", who.image.ClusterID, cfg.Cluster.ID)
	}
	return who, nil
}

// copyTree copies what is in from into the directory to, and returns when a file of
// it was written last.
func copyTree(from, to string) (written time.Time, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular():
			return nil // no backend keeps anything else
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.ModTime().After(written) && !strings.HasPrefix(rel, "LOCK") {
			written = info.ModTime()
		}
		return copyFile(path, target)
	})
	return written, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close())
}

// furthest returns the survivor whose log is ahead of the others', as voters judge it:
// by the last entry's term, then by its index.
func furthest(all []survivor) survivor {
	best := all[0]
	for _, s := range all[1:] {
		a, b := s.extent, best.extent
		if a.LastTerm > b.LastTerm || a.LastTerm == b.LastTerm && a.LastIndex > b.LastIndex {
			best = s
		}
	}
	return best
}
