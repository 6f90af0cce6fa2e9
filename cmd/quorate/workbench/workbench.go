package workbench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/cmd/quorate/scratch"
	"github.com/quorate/quorate/consensus/consensustest/ports"
)

// Described is what a plugin says of itself, as far as it matters here.
type Described struct {
	Name, Version string
	MaxMembers    uint32 // 0: it leaves that open
}

// Config says what to run.
type Config struct {
	Dir      string          // of the plugin's main package
	Quorate  string          // the executable of the broker
	Command  string          // what its user calls that
	Nodes    int             // 0: three, or as many as the plugin takes if that is fewer
	Options  json.RawMessage // the backend's own settings, an object or nothing
	LogLevel string          // of nodes and plugins
	Fresh    bool            // a new build begins without data
	// Describe starts an executable as a broker does and asks what it is.
	Describe func(ctx context.Context, path string) (Described, error)
	Out      io.Writer // what is said; the nodes' logs go there as well
}

// Run builds and runs the plugin until ctx ends, and leaves nothing behind, even if
// this process is killed.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := (module{cfg.Dir}).check(ctx); err != nil {
		return err
	}
	folder, err := scratch.New("quorate-plugin-run-")
	if err != nil {
		return err
	}
	out := &lines{w: cfg.Out}
	b := &bench{cfg: cfg, module: module{cfg.Dir}, dir: folder.Dir, mark: folder.Env(), out: out, ends: make(chan *node, 1)}
	defer func() {
		b.stop()
		if b.ports != nil {
			err = errors.Join(err, b.ports.Release())
		}
		err = errors.Join(err, folder.Remove())
	}()
	if b.saves, err = newSaves(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.saves.run(ctx) })
	g.Go(func() error { return b.run(ctx) })
	return g.Wait()
}

// bench is what one Run works on. Only its goroutine touches it.
type bench struct {
	cfg    Config
	module module
	dir    string
	mark   string // in the environment of what ends with it
	out    *lines
	saves  *saves

	plugin  executable // what the nodes run
	nodes   []*node
	ports   *ports.Set         // theirs, from one build to the next; nil before the first
	ends    chan *node         // nodes that ended without being asked
	waiting context.CancelFunc // ends the wait for the present nodes
	watches sync.WaitGroup
}

func (b *bench) run(ctx context.Context) error {
	for {
		b.out.say("building %s", b.cfg.Dir)
		if err := b.renew(ctx); err != nil && ctx.Err() == nil {
			b.out.say("%v", err)
			b.out.say("%s; it is built again when a file is saved", b.remains())
		}
		if !b.awaitSave(ctx) {
			return nil
		}
	}
}

// awaitSave returns false when ctx has ended.
func (b *bench) awaitSave(ctx context.Context) bool {
	for {
		select {
		case <-b.saves.told:
			return true
		case n := <-b.ends:
			b.out.say("node %d has ended (%s), its last words are above; save a file to start it again", n.id, n.end())
		case <-ctx.Done():
			return false
		}
	}
}

func (b *bench) remains() string {
	if len(b.nodes) == 0 {
		return "nothing runs yet"
	}
	return "what was running goes on"
}

// renew builds the plugin and starts the nodes with it. An error has changed
// nothing: the nodes run what they ran before.
func (b *bench) renew(ctx context.Context) error {
	// First, so that what is saved during the build is not missed.
	dirs, err := b.module.sources(ctx)
	if err == nil {
		err = b.saves.watch(dirs)
	}
	if err != nil {
		return err
	}
	built, err := b.module.build(ctx, b.dir)
	if err != nil {
		return err
	}
	if built == b.plugin && b.allRun() {
		b.out.say("nothing has changed")
		return nil
	}
	d, err := b.cfg.Describe(ctx, built.path)
	if err != nil {
		return errors.Join(err, b.forget(built))
	}
	if b.nodes == nil {
		count := b.count(d)
		if b.ports, err = ports.Reserve(count * portsOfNode); err != nil {
			return errors.Join(err, b.forget(built))
		}
		b.nodes = newNodes(count, b.dir, b.ports.Numbers)
	}
	b.out.say("%s %s: %s", d.Name, d.Version, b.starting())
	b.stop()
	former := b.plugin
	if err := b.start(ctx, built); err != nil {
		return err
	}
	return b.forget(former)
}

// forget removes an executable that no node runs.
func (b *bench) forget(e executable) error {
	if e.path == "" || e == b.plugin {
		return nil
	}
	return os.Remove(e.path)
}

func (b *bench) count(d Described) int {
	switch {
	case b.cfg.Nodes > 0:
		return b.cfg.Nodes
	case d.MaxMembers == 0:
		return 3
	default:
		return min(3, int(d.MaxMembers))
	}
}

func (b *bench) starting() string {
	what := "starting"
	if b.plugin != (executable{}) {
		what = "restarting"
	}
	if len(b.nodes) == 1 {
		return what + " one node"
	}
	return fmt.Sprintf("%s %d nodes", what, len(b.nodes))
}

func (b *bench) allRun() bool {
	for _, n := range b.nodes {
		select {
		case <-n.ended:
			return false
		default:
		}
	}
	return true
}

// start starts every node with a plugin, and tells when they are ready.
func (b *bench) start(ctx context.Context, plugin executable) error {
	b.plugin = plugin
	ctx, b.waiting = context.WithCancel(ctx)
	for _, n := range b.nodes {
		if b.cfg.Fresh {
			if err := os.RemoveAll(n.dir); err != nil {
				return err
			}
		}
		config, err := n.configure(b.nodes, plugin, b.cfg.Options, b.cfg.LogLevel)
		if err != nil {
			return err
		}
		if err := n.start(b.cfg.Quorate, config, b.mark, b.out.prefixed(fmt.Sprintf("node %d | ", n.id))); err != nil {
			return err
		}
		b.watches.Go(func() { b.watchEnd(ctx, n) })
	}
	b.watches.Go(func() { b.tellReady(ctx) })
	return nil
}

func (b *bench) watchEnd(ctx context.Context, n *node) {
	select {
	case <-n.ended:
		select {
		case b.ends <- n:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

func (b *bench) tellReady(ctx context.Context) {
	var addresses []string
	for _, n := range b.nodes {
		if !n.awaitReady(ctx) {
			return // its end is told, or there are others already
		}
		addresses = append(addresses, n.clients)
	}
	at := strings.Join(addresses, ",")
	b.out.say("ready on %s. In another terminal:\n\n  echo hello | %[2]s produce quickstart -b %[1]s\n  %[2]s consume quickstart -o start -e -b %[1]s\n\nSave a file of %[3]s to build again; Ctrl-C to end.\n",
		at, b.cfg.Command, b.cfg.Dir)
}

// stop stops every node, all at once.
func (b *bench) stop() {
	if b.waiting != nil {
		b.waiting()
	}
	b.watches.Wait()
	select {
	case <-b.ends: // it ended of itself, and begins again
	default:
	}
	var stopping sync.WaitGroup
	for _, n := range b.nodes {
		stopping.Go(n.stop)
	}
	stopping.Wait()
}

// lines writes whole lines of several writers to one.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// say prints what the workbench has to say, set apart from the logs.
func (l *lines) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "--- "+format+"\n", args...)
}

// prefixed returns a writer that puts a prefix before each line.
func (l *lines) prefixed(prefix string) io.Writer { return &prefixed{lines: l, prefix: prefix} }

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

type prefixed struct {
	lines  *lines
	prefix string
	rest   []byte // of a line that has not ended
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found && len(p.rest) < maxLine {
			return len(b), nil
		}
		p.lines.mu.Lock()
		_, err := fmt.Fprintf(p.lines.w, "%s%s\n", p.prefix, line)
		p.lines.mu.Unlock()
		if err != nil {
			return len(b), err
		}
		p.rest = rest
	}
}
