package kit

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/consensus"
)

var durabilityCases = []Case{
	{Number: 11, Name: "restarts", Level: 1, Nodes: 1, Rules: []string{"T1", "T3", "D3", "S1", "L6"}, run: restarts},
	{Number: 11, Name: "killed under load", Level: 1, Nodes: 1, Rules: []string{"S1", "T1", "T3", "D3", "P3"}, run: killedUnderLoad},
	{Number: 11, Name: "what was acknowledged is on disk", Level: 1, Nodes: 1, Rules: []string{"S1", "S3"}, run: powerCut},
	{Number: 16, Name: "damaged files", Level: 1, Nodes: 1, Rules: []string{"S3"}, Process: true, run: damagedFiles},
}

func restarts(l *lab) {
	mode := consensus.OpenBootstrap
	for i := range l.scale(4, 10, 40) {
		l.startAll(mode)
		mode = consensus.OpenRecover
		l.commit(20, 4)
		l.converge()
		if n := l.nodes[0]; i%2 == 0 {
			n.kill()
		} else {
			n.shutDown()
		}
	}
	l.startAll(mode)
	l.leader()
	l.converge()
}

func killedUnderLoad(l *lab) {
	mode := consensus.OpenBootstrap
	for range l.scale(4, 15, 50) {
		l.startAll(mode)
		mode = consensus.OpenRecover
		l.leader()
		stop := l.load(32)
		l.pause(time.Duration(10+l.random.IntN(80)) * time.Millisecond)
		l.nodes[0].kill()
		stop()
	}
	l.startAll(mode)
	l.commit(5, 1)
	l.converge()
}

// powerCut copies the directory of a running replica, and starts from the copy.
// What was acknowledged before the copy began must be in it.
func powerCut(l *lab) {
	n := l.nodes[0]
	n.start(consensus.OpenBootstrap)
	for range l.scale(2, 5, 20) {
		l.commit(100, 16)
		stop := l.load(64)
		l.commit(1, 1)
		acknowledged := l.checks.acknowledged()
		cut := filepath.Join(l.dir, "cut")
		err := os.CopyFS(cut, os.DirFS(n.dir))
		stop()
		n.kill()
		l.must(err)
		l.must(os.RemoveAll(n.dir))
		l.must(os.Rename(cut, n.dir))
		l.must(os.Chmod(n.dir, 0o700))
		l.forget(acknowledged)
		n.start(consensus.OpenRecover)
		l.leader()
		for name, index := range acknowledged {
			if at := n.copyState().Applied[name]; at != index {
				l.giveUp("S1", "%q was committed at %d, and after the power cut it is at %d", name, index, at)
			}
		}
	}
	l.commit(5, 1)
	l.converge()
}

// forget makes the checks forget what was only written after the copy began: to
// the replica in the copy it never happened.
func (l *lab) forget(acknowledged map[string]uint64) {
	c := l.checks
	c.mu.Lock()
	defer c.mu.Unlock()
	last := uint64(0)
	for _, index := range acknowledged {
		last = max(last, index)
	}
	for index := range c.chains {
		if index > last {
			delete(c.chains, index)
		}
	}
	for name, index := range c.delivered {
		if index > last {
			delete(c.delivered, name)
		}
	}
	c.committed, c.highest = acknowledged, last
	c.orderedTo = min(c.orderedTo, last)
	clear(c.terms)
	clear(c.leaders)
	clear(c.ready)
	clear(c.firsts)
	clear(c.order)
}

// damagedFiles flips a bit in one file after the other. The replica may find the
// damage and refuse to start, with 74, or not be hurt by it; it must not deliver
// what was never written.
func damagedFiles(l *lab) {
	n := l.nodes[0]
	n.start(consensus.OpenBootstrap)
	l.commit(200, 16)
	l.converge()
	n.kill()
	acknowledged := l.checks.acknowledged()
	healthy := n.dir
	l.checks.tear()
	var files []string
	l.must(filepath.WalkDir(healthy, func(path string, d fs.DirEntry, err error) error {
		if info, statErr := d.Info(); err == nil && statErr == nil && d.Type().IsRegular() && info.Size() > 0 && d.Name() != "LOCK" && d.Name() != "META.json" {
			files = append(files, path)
		}
		return err
	}))
	for i := range l.scale(4, 16, 64) {
		n.dir = filepath.Join(l.dir, "damaged")
		l.must(os.CopyFS(n.dir, os.DirFS(healthy)))
		l.must(os.Chmod(n.dir, 0o700))
		l.forget(acknowledged)
		rel, err := filepath.Rel(healthy, files[l.random.IntN(len(files))])
		l.must(err)
		l.damage(filepath.Join(n.dir, rel), i%2 == 1)
		l.afterDamage(n, rel)
		n.kill()
		l.must(os.RemoveAll(n.dir))
	}
	l.forget(acknowledged)
	l.checks.torn, n.dir = 0, healthy
}

func (l *lab) afterDamage(n *node, file string) {
	err := n.tryStart(consensus.OpenRecover)
	if code := exitCodeOf(err); err != nil && code != consensus.ExitStorage {
		l.checks.breaks("S3", "after damage to %s it ends with %d, want %d: %v", file, code, consensus.ExitStorage, err)
	}
	if err != nil {
		return
	}
	// What it delivers is compared with what was there before, as always.
	p := n.process()
	l.within(2*time.Second, func() bool {
		select {
		case <-p.Exited():
			return true
		default:
		}
		leader, _ := l.ready()
		return leader != nil
	})
}

// damage changes a byte in the middle of a file's content, or cuts its tail off.
func (l *lab) damage(path string, cut bool) {
	data, err := os.ReadFile(path)
	l.must(err)
	used := len(data)
	for used > 1 && data[used-1] == 0 {
		used-- // the rest is space kept ready
	}
	if cut {
		data = data[:used-min(1+l.random.IntN(20), used)]
	} else {
		data[used/4+l.random.IntN(used/2+1)] ^= 0x10
	}
	l.must(os.WriteFile(path, data, 0o600))
}
