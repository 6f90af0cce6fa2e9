package kit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

var lifecycleCases = []Case{
	{Number: 1, Name: "describe and validate have no effects", Level: 1, Nodes: 1, Rules: []string{"L1", "P7"}, run: describe},
	{Number: 2, Name: "handshake, signals and exit codes", Level: 1, Nodes: 1, Rules: []string{"L5", "L6", "L7", "L8"}, Process: true, run: handshake},
	{Number: 23, Name: "the host dies", Level: 1, Nodes: 1, Rules: []string{"L4", "S1"}, Process: true, run: hostDies},
	{Number: 24, Name: "a directory is locked, and belongs to somebody", Level: 1, Nodes: 1, Rules: []string{"L2", "L8"}, Process: true, run: foreignData},
	{Number: 24, Name: "open modes", Level: 1, Nodes: 1, Rules: []string{"L2"}, run: openModes},
	{Number: 17, Name: "health answers", Level: 1, Nodes: 1, Rules: []string{"L3"}, run: health},
}

func describe(l *lab) {
	d := l.described
	if d.Backend == "" || d.Limits.MaxGroups < 1 || d.Limits.MaxMembers < 1 || d.Limits.MaxInflightProposals < 256 {
		l.checks.breaks("L1", "an incomplete description: %+v", d)
	}
	if d.Limits.MaxProposalBytes < 1<<20 {
		l.checks.breaks("P7", "proposals of 1 MiB must be taken, the limit is %d", d.Limits.MaxProposalBytes)
	}
	if !json.Valid(d.ConfigSchema) {
		l.checks.breaks("L1", "the schema of the options is not JSON: %s", d.ConfigSchema)
	}
	l.validates("", "{}")
	problems, err := l.front.Validate(l.ctx, json.RawMessage(`{"no_such_option": 1, "nor_this": true}`))
	if err != nil {
		l.checks.breaks("L1", "validate: %v", err)
	}
	for _, key := range []string{"no_such_option", "nor_this"} {
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Path+p.Message, key)
		}
		if !found {
			l.checks.breaks("L1", "option %q is not called unknown: %+v", key, problems)
		}
	}
	if problems, err := l.front.Validate(l.ctx, json.RawMessage(`[`)); err != nil || len(problems) == 0 {
		l.checks.breaks("L1", "options that are not JSON are called valid: %v", err)
	}
	again, err := l.front.Describe(l.ctx)
	if err != nil || again.Backend != d.Backend || again.Version != d.Version {
		l.checks.breaks("L1", "described as %s %s, and then as %s %s: %v", d.Backend, d.Version, again.Backend, again.Version, err)
	}
}

func (l *lab) validates(options ...string) {
	for _, o := range options {
		problems, err := l.front.Validate(l.ctx, json.RawMessage(o))
		if err != nil {
			l.checks.breaks("L1", "validate options %q: %v", o, err)
		}
		for _, p := range problems {
			if !p.Warning {
				l.checks.breaks("L1", "the defaults are not valid: options %q: %s %s", o, p.Path, p.Message)
			}
		}
	}
}

// handshakeLine is what a plugin prints first: core protocol, contract, socket, gRPC.
var handshakeLine = regexp.MustCompile(`^1\|1\|unix\|[^|]+\|grpc(\|[^|]*)?$`)

func handshake(l *lab) {
	l.refusedByHand()
	l.shakesHands()
	n := l.nodes[0]
	n.start(consensus.OpenBootstrap)
	l.commit(10, 1)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		l.must(n.process().Signal(sig))
	}
	l.commit(10, 1)
	l.converge()
	n.shutDown() // breaks L6 unless it exits with 0
	n.lives++
	launch := n.launch(consensus.OpenRecover)
	launch.Start.Options = json.RawMessage(`{"no_such_option": 1}`)
	if r, err := l.front.Launch(l.ctx, launch); err == nil {
		r.Kill()
		l.checks.breaks("L8", "a start with an unknown option succeeds")
	} else if code := exitCodeOf(err); code != consensus.ExitConfig {
		l.checks.breaks("L8", "a start with an unknown option ends with %d, want %d: %v", code, consensus.ExitConfig, err)
	}
}

// byHand is the plugin's command, for cases that need a process.
func (l *lab) byHand(ctx context.Context, env ...string) (*exec.Cmd, error) {
	c, ok := l.front.(commander)
	if !ok {
		return nil, errors.New("the front has no command")
	}
	return c.command(ctx, env...)
}

// refusedByHand starts the plugin without the cookie: it must say what it is and go.
func (l *lab) refusedByHand() {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	cmd, err := l.byHand(ctx)
	l.must(err)
	stdout, err := cmd.Output()
	if ctx.Err() != nil {
		l.checks.breaks("L7", "started by hand, without the cookie, it does not exit")
	} else if err == nil {
		l.checks.breaks("L8", "started by hand, without the cookie, it exits with 0")
	}
	if len(stdout) > 0 {
		l.checks.breaks("L7", "started by hand it prints %.100q on stdout", stdout)
	}
}

// shakesHands starts the plugin as a host does, reads its stdout, and dies.
func (l *lab) shakesHands() {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	sockets := filepath.Join(l.dir, "s")
	l.must(os.Mkdir(sockets, 0o700))
	cmd, err := l.byHand(ctx, host.Greeting(sockets)...)
	l.must(err)
	read, write, err := os.Pipe()
	l.must(err)
	cmd.ExtraFiles = []*os.File{read}
	stdout, err := cmd.StdoutPipe()
	l.must(err)
	l.must(cmd.Start())
	_ = read.Close() // the child has its own
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil || !handshakeLine.MatchString(strings.TrimSuffix(line, "\n")) {
		l.checks.breaks("L7", "the first line on stdout is %q: %v", line, err)
	}
	_ = write.Close() // the host is dead
	rest, _ := io.ReadAll(lines)
	if len(rest) > 0 {
		l.checks.breaks("L7", "after the handshake there is %.100q on stdout", rest)
	}
	l.exits(cmd)
}

func (l *lab) exits(cmd *exec.Cmd) {
	if err := cmd.Wait(); err != nil {
		l.checks.breaks("L4", "without a host the plugin ends with %v, want exit code 0", err)
	}
}

func hostDies(l *lab) {
	n := l.nodes[0]
	mode := consensus.OpenBootstrap
	for _, way := range []struct {
		name  string
		lease time.Duration
		die   func(Process)
	}{
		{"its end of the pipe is closed", 0, Process.HangUp},
		{"it is silent for longer than its lease", time.Second, func(Process) {}},
	} {
		l.lease = way.lease
		n.start(mode)
		mode = consensus.OpenRecover
		l.commit(10, 1)
		p := n.process()
		n.ending.Store(true)
		n.stop() // and with it everything that the host asks
		n.running.Wait()
		way.die(p)
		if !l.within(l.opts.Patience, func() bool {
			select {
			case <-p.Exited():
				return true
			default:
				return false
			}
		}) {
			l.checks.breaks("L4", "the host is gone (%s), and the plugin lives on", way.name)
		} else if code := p.ExitCode(); code != consensus.ExitOK {
			l.checks.breaks("L4", "the host is gone (%s), and the plugin exits with %d", way.name, code)
		}
		n.kill()
	}
	l.lease = 0
	n.start(mode) // the lock is free again
	l.commit(1, 1)
	l.converge()
}

func foreignData(l *lab) {
	n := l.nodes[0]
	n.start(consensus.OpenBootstrap)
	l.commit(5, 1)
	second := n.launch(consensus.OpenRecover)
	second.RunDir += "-second"
	second.Start.Peer = consensus.PeerEndpoint{Listen: "127.0.0.1:0"}
	l.refuses("a second process on the directory", second, consensus.ExitLocked)
	l.commit(5, 1)
	n.shutDown()
	other := n.launch(consensus.OpenRecover)
	other.Start.ClusterID = "somebody-elses"
	l.refuses("data of another cluster", other, consensus.ExitConfig)
	other = n.launch(consensus.OpenRecover)
	other.Start.ReplicaID = 77
	l.refuses("data of another replica", other, consensus.ExitConfig)
	n.start(consensus.OpenRecover)
	l.commit(5, 1)
	l.converge()
}

func (l *lab) refuses(what string, launch Launch, want int) {
	ctx, cancel := context.WithTimeout(l.ctx, 2*l.opts.Patience)
	defer cancel()
	r, err := l.front.Launch(ctx, launch)
	if err == nil {
		r.Kill()
		l.checks.breaks("L2", "%s is taken", what)
		return
	}
	if code := exitCodeOf(err); code != want {
		l.checks.breaks("L8", "%s: exit code %d, want %d: %v", what, code, want, err)
	}
}

func openModes(l *lab) {
	n := l.nodes[0]
	if err := n.tryStart(consensus.OpenRecover); err == nil {
		l.giveUp("L2", "nothing was there to recover, and it was")
	}
	n.start(consensus.OpenBootstrap)
	l.commit(3, 1)
	n.shutDown()
	n.start(consensus.OpenBootstrap) // with data there, it recovers too
	l.commit(3, 1)
	l.converge()
}

// health wants answers while the backend works.
func health(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.leader()
	stop := l.load(64)
	defer stop()
	n := l.nodes[0]
	for range l.scale(10, 40, 200) {
		l.pause(20 * time.Millisecond)
		if !healthy(l, n) {
			return
		}
	}
}

// answerWithin is how long a replica may take to say how it is, on a machine
// however busy.
const answerWithin = 5 * time.Second

// healthy asks a replica once how it is.
func healthy(l *lab, n *node) bool {
	ctx, cancel := context.WithTimeout(l.ctx, answerWithin)
	defer cancel()
	s, err := n.client().Status(ctx, consensus.Metadata)
	if err != nil || s.LastIndex < s.CommitIndex || s.FirstIndex == 0 {
		l.checks.breaks("L3", "status %+v: %v", s, err)
		return false
	}
	if p := n.process(); p != nil {
		if loop, _, err := p.Ask(ctx); err != nil || loop > answerWithin {
			l.checks.breaks("L3", "health under load: the loop is %s old: %v", loop, err)
			return false
		}
	}
	return true
}
