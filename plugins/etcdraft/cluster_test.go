package etcdraft

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// seeds is how many random runs a test does that has them.
var seeds = flag.Int("seeds", 1, "how many random runs to do")

// smallSegments spares the disk: spare segments are filled with zeros ahead.
const smallSegments = `{"log_segment_bytes": 1048576}`

// patience is how long a test waits for what must happen at some time.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// cluster is some replicas in this process, over real sockets and directories.
type cluster struct {
	t        *testing.T
	options  string
	tuning   consensus.GroupTuning
	timing   consensus.Timing
	members  []consensus.Member
	backends []*Backend
	groups   []consensus.Group
	dirs     []string
	listen   []string
	joined   []bool // later, by a change of membership
	tls      func(replica uint64) *consensus.PeerTLS
	address  func(replica int, listen string) string
}

// newCluster binds n replicas. address, if given, tells where the others dial a
// replica that listens at an address.
func newCluster(t *testing.T, n int, options string, address func(replica int, listen string) string) *cluster {
	t.Helper()
	return newBoundCluster(t, n, nil, func(c *cluster) { c.options = options }, func(c *cluster) { c.address = address })
}

// newBoundCluster is newCluster with certificates, if tls is not nil.
func newBoundCluster(t *testing.T, n int, tls func(replica uint64) *consensus.PeerTLS, more ...func(*cluster)) *cluster {
	t.Helper()
	c := &cluster{t: t, tls: tls, backends: make([]*Backend, n), groups: make([]consensus.Group, n), listen: make([]string, n), joined: make([]bool, n)}
	for _, f := range more {
		f(c)
	}
	for i := range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.bind(i)
		where := c.listen[i]
		if c.address != nil {
			where = c.address(i, where)
		}
		c.members = append(c.members, consensus.Member{ReplicaID: uint64(i + 1), Address: where, Role: consensus.Voter})
	}
	t.Cleanup(func() {
		for i := range c.backends {
			c.stop(i)
		}
	})
	return c
}

func (c *cluster) bind(i int) {
	c.t.Helper()
	b := newBackend(func(code int) { c.t.Errorf("replica %d exits with %d", i+1, code) }, seglog.OS())
	listen := c.listen[i]
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	cfg := consensus.StartConfig{
		ClusterID: "test", ReplicaID: uint64(i + 1), DataDir: c.dirs[i], Peer: consensus.PeerEndpoint{Listen: listen},
		Timing: cmp.Or(c.timing, consensus.Timing{Heartbeat: 15 * time.Millisecond, ElectionTimeout: 150 * time.Millisecond}),
	}
	if c.tls != nil {
		cfg.Peer.TLS = c.tls(cfg.ReplicaID)
	}
	cfg.Options = json.RawMessage(cmp.Or(c.options, smallSegments))
	eventually(c.t, fmt.Sprintf("the port of replica %d to be free", i+1), func() bool { // a connection of somebody may have taken it
		err := b.Start(c.t.Context(), cfg)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			c.t.Fatalf("start replica %d: %v", i+1, err)
		}
		return err == nil
	})
	c.backends[i], c.listen[i] = b, b.BoundPeerAddress()
}

func (c *cluster) open(i int, id consensus.GroupID) consensus.Group {
	c.t.Helper()
	spec := consensus.GroupSpec{ID: id, Mode: consensus.OpenBootstrap, Members: c.members, Tuning: c.tuning}
	if c.joined[i] {
		spec.Mode, spec.Members = consensus.OpenJoin, nil
	}
	g, err := c.backends[i].OpenGroup(c.t.Context(), spec)
	if err != nil {
		c.t.Fatalf("open group %d on replica %d: %v", id, i+1, err)
	}
	return g
}

func (c *cluster) openAll() {
	c.t.Helper()
	for i := range c.backends {
		if c.backends[i] != nil {
			c.groups[i] = c.open(i, consensus.Metadata)
		}
	}
}

// join starts one more replica, which is a member of nothing yet.
func (c *cluster) join() (i int) {
	c.t.Helper()
	i = len(c.backends)
	c.dirs, c.joined = append(c.dirs, c.t.TempDir()), append(c.joined, true)
	c.backends, c.groups, c.listen = append(c.backends, nil), append(c.groups, nil), append(c.listen, "")
	c.bind(i)
	c.groups[i] = c.open(i, consensus.Metadata)
	return i
}

func (c *cluster) stop(i int) {
	c.t.Helper()
	if c.backends[i] == nil {
		return
	}
	if err := c.backends[i].Stop(context.Background()); err != nil {
		c.t.Errorf("stop replica %d: %v", i+1, err)
	}
	c.backends[i], c.groups[i] = nil, nil
}

func (c *cluster) restart(i int) {
	c.t.Helper()
	c.stop(i)
	c.bind(i)
	c.groups[i] = c.open(i, consensus.Metadata)
}

// leader waits for one of groups to be ready.
func (c *cluster) leader(groups []consensus.Group) (int, consensus.Leadership) {
	c.t.Helper()
	found, at := -1, consensus.Leadership{}
	eventually(c.t, "a leader that is ready", func() bool {
		for i, g := range groups {
			if g == nil {
				continue
			}
			if l, _ := g.Leadership(); l.Role == consensus.LeaderReady && l.Term > at.Term {
				found, at = i, l
			}
		}
		return found >= 0
	})
	return found, at
}

// propose returns what became of data.
func propose(g consensus.Group, term uint64, data []byte) consensus.Result {
	results := make(chan consensus.Result, 1)
	g.Propose(term, data, func(r consensus.Result) { results <- r })
	return <-results
}

// commit proposes until data is committed, through whoever leads.
func (c *cluster) commit(data []byte) consensus.Result {
	c.t.Helper()
	var r consensus.Result
	eventually(c.t, "a proposal to be committed", func() bool {
		i, l := c.leader(c.groups)
		r = propose(c.groups[i], l.Term, data)
		return r.Outcome == consensus.Committed
	})
	return r
}

// dump returns the committed entries of g from index on, as text.
func dump(g consensus.Group, from uint64) (lines []string, err error) {
	for {
		entries, _, next, err := g.Read(from, 1<<20)
		if err != nil || next != nil {
			return lines, err
		}
		for _, e := range entries {
			lines = append(lines, fmt.Sprintf("%d/%d %t %q", e.Term, e.Index, e.Internal, e.Data))
		}
		from += uint64(len(entries))
	}
}
