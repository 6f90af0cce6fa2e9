package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/quorate/quorate/protocol/record"
)

// crash ends a broker as a power cut does: what was not synced is gone.
func (c *cluster) crash(id int32) {
	n := c.nodes[id]
	n.dead.Store(true) // nothing that it says from here on is heard
	c.restarts++
	dir := fmt.Sprintf("%s/%d-%d", c.root, id, c.restarts)
	for _, p := range *n.m.partitions.Load() {
		copyCrashed(c.t, p, fmt.Sprintf("%s/%s", dir, p))
	}
	n.stop()
	if disk, ok := n.m.cfg.FS.(*faultFS); ok {
		disk.letGo() // or it would wait for ever
	}
	if err := <-n.done; err != nil {
		c.t.Errorf("broker %d: Run: %v", id, err)
	}
	n.dir = dir
}

// copyCrashed copies a partition without what was written at or after its
// durable end. Nothing is truncated meanwhile.
func copyCrashed(t tester, p *Partition, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.wal.Durable()
	for err := os.CopyFS(to, os.DirFS(p.dir)); err != nil; err = os.CopyFS(to, os.DirFS(p.dir)) {
		if !errors.Is(err, fs.ErrNotExist) { // a temporary file that was renamed
			t.Fatalf("copy: %v", err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatalf("copy: %v", err)
		}
	}
	segments, err := filesOf(to, ".log")
	if err != nil {
		t.Fatalf("list segments: %v", err)
	}
	for _, file := range segments {
		if err := cutLog(file, end); err != nil {
			t.Fatalf("cut %s: %v", file, err)
		}
	}
}

func filesOf(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var files []string
	for _, e := range entries {
		if bytes.HasSuffix([]byte(e.Name()), []byte(suffix)) {
			files = append(files, dir+"/"+e.Name())
		}
	}
	return files, err
}

func cutLog(file string, end int64) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := 0
	for batch, err := range record.Split(data) {
		if err != nil || batch.BaseOffset() >= end {
			break
		}
		at += len(batch)
	}
	return os.Truncate(file, int64(at))
}
