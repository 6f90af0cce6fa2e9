package workbench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	stopPatience = 15 * time.Second // for an orderly stop of a node
	readyPoll    = 100 * time.Millisecond
	pollTimeout  = time.Second
)

// portsOfNode is how many a node listens on: for clients, brokers, the plugin's peers
// and operators.
const portsOfNode = 4

// node is one broker of the cluster. Its ports and its data stay from one build
// of the plugin to the next.
type node struct {
	id                          int
	dir                         string
	clients, brokers, raft, ops string // addresses
	cmd                         *exec.Cmd
	ended                       chan struct{} // closed when cmd has; nil if it was never started
	err                         error         // of cmd; after ended
}

// newNodes gives every node four of the ports, which must be free for as long as the
// nodes are started again.
func newNodes(count int, dir string, numbers []int) []*node {
	nodes := make([]*node, 0, count)
	for id := 1; id <= count; id++ {
		n := &node{id: id, dir: filepath.Join(dir, fmt.Sprintf("node-%d", id))}
		for i, address := range []*string{&n.clients, &n.brokers, &n.raft, &n.ops} {
			*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(numbers[(id-1)*portsOfNode+i]))
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// configure writes the node's config file for a plugin, and returns its path.
func (n *node) configure(all []*node, plugin executable, options json.RawMessage, level string) (string, error) {
	consensus := map[string]any{
		"backend":  "external",
		"external": map[string]any{"path": plugin.path, "sha256": plugin.sha256},
	}
	if len(options) > 0 {
		consensus["options"] = options
	}
	file := map[string]any{
		"node":      map[string]any{"id": n.id, "data_dir": n.dir},
		"listeners": []any{map[string]any{"name": "clients", "bind": n.clients}},
		"admin":     map[string]any{"bind": n.ops},
		"log":       map[string]any{"level": level, "format": "text"},
		"consensus": consensus,
	}
	if len(all) > 1 {
		brokers, rafts := map[int]string{}, map[int]string{}
		for _, other := range all {
			brokers[other.id], rafts[other.id] = other.brokers, other.raft
		}
		file["cluster"] = map[string]any{"id": "workbench", "bind": n.brokers, "peers": brokers}
		consensus["peers"] = rafts
		consensus["peer"] = map[string]any{"listen": n.raft, "advertise": n.raft}
	}
	// JSON is YAML, and takes the options as they are.
	content, err := json.Marshal(file)
	if err != nil {
		return "", err
	}
	path := n.dir + ".yaml"
	return path, os.WriteFile(path, content, 0o600)
}

// start starts the node's process. It is in the group of this one, so that what
// a terminal sends to all of them reaches it as well.
func (n *node) start(program, config, mark string, log io.Writer) error {
	n.cmd = exec.Command(program, "serve", "--config", config)
	n.cmd.Env = append(os.Environ(), mark)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.WaitDelay = stopPatience // a plugin that outlives it must not keep its pipe open for ever
	if err := n.cmd.Start(); err != nil {
		n.ended = nil
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		n.err = cmd.Wait()
		close(ended)
	}(n.cmd, n.ended)
	return nil
}

// stop stops the node's process, if there is one, and waits for its end.
func (n *node) stop() {
	if n.ended == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-n.ended:
	case <-time.After(stopPatience):
		_ = n.cmd.Process.Kill() // likewise
		<-n.ended
	}
}

// end says how the process ended.
func (n *node) end() string {
	if n.err == nil {
		return "exit code 0"
	}
	return n.err.Error()
}

// awaitReady waits until the node serves clients. It returns false if the node or
// ctx ended first.
func (n *node) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if n.ready(ctx) {
			return true
		}
		select {
		case <-tick.C:
		case <-n.ended:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (n *node) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.ops+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }() // only its status counts
	return resp.StatusCode == http.StatusOK
}
