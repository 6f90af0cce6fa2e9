package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is one quorate process and its plugin.
type Node struct {
	ID                          int
	Client, Broker, Raft, Admin string // addresses
	Dir                         string
	cluster                     *Cluster
	join                        []*Node // whom a node that joins asks; nil for the first ones
	cmd                         *exec.Cmd
	exited                      chan struct{} // closed once cmd has ended
	waitErr                     error         // of cmd, once exited is closed
}

// Start starts the node's process; its log goes to a file in Dir.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("node %d is running already", n.ID)
	}
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(n.cluster.Binary, "serve", "--config", n.ConfigFile())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = n.Dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QUORATE_") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.ID, err)
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		n.waitErr = cmd.Wait()
		close(exited)
	}(n.exited)
	return nil
}

// Running reports whether the process was started and has not ended.
func (n *Node) Running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// PID returns the broker's process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Kill ends the broker with SIGKILL and waits for its end. Its plugin has to
// notice by itself.
func (n *Node) Kill() error {
	if err := n.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill node %d: %w", n.ID, err)
	}
	<-n.exited
	return nil
}

// Stop ends the broker with SIGTERM and waits for its end.
func (n *Node) Stop(ctx context.Context) error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop node %d: %w", n.ID, err)
	}
	select {
	case <-n.exited:
		return n.waitErr
	case <-ctx.Done():
		return fmt.Errorf("stop node %d: %w", n.ID, ctx.Err())
	}
}

// Pause stops the broker with SIGSTOP; Resume lets it go on.
func (n *Node) Pause() error { return n.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (n *Node) Resume() error { return n.cmd.Process.Signal(syscall.SIGCONT) }

// isPlugin tells a plugin's command line from a broker's. What an external plugin
// runs as is its own affair.
func (c *Cluster) isPlugin(commandLine []byte) bool {
	if c.External != "" {
		return !bytes.Contains(commandLine, []byte("serve\x00--config"))
	}
	return bytes.Contains(commandLine, []byte("plugin\x00serve"))
}

// PluginPID returns the process id of the node's consensus plugin, which is its
// only child.
func (n *Node) PluginPID() (int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.PID()))
	if err != nil {
		return 0, err
	}
	for _, t := range tasks {
		children, err := os.ReadFile(t)
		if err != nil {
			continue // the thread ended meanwhile
		}
		for c := range strings.FieldsSeq(string(children)) {
			cmdline, err := os.ReadFile("/proc/" + c + "/cmdline")
			if err == nil && n.cluster.isPlugin(cmdline) {
				return strconv.Atoi(c)
			}
		}
	}
	return 0, fmt.Errorf("node %d has no plugin process", n.ID)
}

// KillPlugin ends the plugin with SIGKILL.
func (n *Node) KillPlugin() error {
	pid, err := n.PluginPID()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// PausePlugin stops the plugin with SIGSTOP and returns what lets it go on. The
// broker may have ended it by then, which is no error.
func (n *Node) PausePlugin() (resume func() error, err error) {
	pid, err := n.PluginPID()
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := syscall.Kill(pid, syscall.SIGCONT); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return nil
	}, syscall.Kill(pid, syscall.SIGSTOP)
}

// Plugins returns the process ids of every plugin that works in the cluster's
// directory, whoever started it and whether or not its broker lives.
func (c *Cluster) Plugins() ([]int, error) {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range commands {
		command, err := os.ReadFile(name)
		if err != nil || !c.isPlugin(command) {
			continue // ended meanwhile, or another program
		}
		dir, err := os.Readlink(filepath.Join(filepath.Dir(name), "cwd"))
		if err != nil || !strings.HasPrefix(dir, c.Dir+string(filepath.Separator)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Ready asks the node whether it serves.
func (n *Node) Ready(ctx context.Context) (bool, string) {
	if !n.Running() {
		return false, fmt.Sprintf("node %d has ended: %v\n%s", n.ID, n.waitErr, n.tail(20))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Admin+"/readyz", http.NoBody)
	if err != nil {
		return false, err.Error()
	}
	resp, err := (&http.Client{Timeout: time.Second}).Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return err == nil && resp.StatusCode == http.StatusOK, string(body)
}

// AwaitReady waits until the node serves. A node that ends is not waited for.
func (n *Node) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := Await(ctx, fmt.Sprintf("node %d to be ready", n.ID), func(ctx context.Context) (bool, string) {
		ok, seen := n.Ready(ctx)
		if !ok && !n.Running() {
			cancel(errors.New("the process has ended"))
		}
		return ok, seen
	})
	return err
}

func (n *Node) logFile() string {
	return filepath.Join(n.cluster.Dir, fmt.Sprintf("node-%d.log", n.ID))
}

// ConfigFile is the node's config file.
func (n *Node) ConfigFile() string {
	return filepath.Join(n.cluster.Dir, fmt.Sprintf("node-%d.yaml", n.ID))
}

// DataDir is where the node keeps its data.
func (n *Node) DataDir() string { return filepath.Join(n.Dir, "data") }

func (n *Node) tail(lines int) string {
	b, err := os.ReadFile(n.logFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Log returns what the node has logged so far, over all its lives.
func (n *Node) Log() (string, error) {
	b, err := os.ReadFile(n.logFile())
	return string(b), err
}

// Rejoin writes a config file with which the node joins the cluster by asking seeds;
// without any it is one of the first nodes again.
func (n *Node) Rejoin(seeds ...*Node) error {
	n.join = seeds
	return n.writeConfig()
}

// AwaitEnd waits until the process has ended by itself, and returns its exit code.
func (n *Node) AwaitEnd(ctx context.Context) (code int, err error) {
	select {
	case <-n.exited:
	case <-ctx.Done():
		return 0, fmt.Errorf("node %d goes on: %w", n.ID, ctx.Err())
	}
	if exit, ok := errors.AsType[*exec.ExitError](n.waitErr); ok {
		return exit.ExitCode(), nil
	}
	return 0, n.waitErr
}

// Others returns the other nodes of the cluster.
func (n *Node) Others() (others []*Node) {
	for _, o := range n.cluster.Nodes() {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// Watch calls ended if the process ends before ctx does. The channel then has true,
// else false.
func (n *Node) Watch(ctx context.Context, ended func()) <-chan bool {
	out, exited := make(chan bool, 1), n.exited
	go func() {
		select {
		case <-exited:
			ended()
			out <- true
		case <-ctx.Done():
			out <- false
		}
	}()
	return out
}
