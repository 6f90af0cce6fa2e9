package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus/consensustest/ports"
)

// Options describe a cluster.
type Options struct {
	Binary  string // the quorate executable
	Dir     string // everything is below it; must exist
	Backend string // etcd-raft, hashicorp-raft, solo or external
	// External is the executable of the backend external.
	External string
	Nodes    int
	// Kafka are settings for the kafka section of every node's file.
	Kafka map[string]any
	// ClusterTLS runs brokers and plugins over mutual TLS with certificates made
	// for the occasion.
	ClusterTLS bool
	// SnapshotEntries and RetainEntries bound the metadata log; 0: as by default.
	SnapshotEntries, RetainEntries int
	// Proxies puts a proxy into every link between nodes, for Cut and Isolate. A
	// node that is not running then looks as if it hung up instead of refusing.
	Proxies bool
}

// Cluster is a set of nodes that know each other.
type Cluster struct {
	Options
	nodes   map[int]*Node
	certs   *Certificates
	network network      // nil without proxies
	ports   []*ports.Set // held until Close, while nodes are down, too
}

// New writes the nodes' config files and reserves their ports. Nothing is started.
func New(opts Options) (*Cluster, error) {
	if _, err := os.Stat(opts.Binary); err != nil {
		return nil, fmt.Errorf("no quorate binary: %w (build it with: make build)", err)
	}
	c := &Cluster{Options: opts, nodes: make(map[int]*Node, opts.Nodes)}
	reserved, err := ports.Reserve(4 * opts.Nodes)
	if err != nil {
		return nil, err
	}
	c.ports = append(c.ports, reserved)
	if opts.ClusterTLS {
		if c.certs, err = newCertificates(filepath.Join(opts.Dir, "tls"), opts.Nodes); err != nil {
			return nil, err
		}
	}
	for i := range opts.Nodes {
		c.nodes[i+1] = c.newNode(i+1, reserved.Numbers[4*i:])
	}
	if opts.Proxies {
		if c.network, err = newNetwork(c.nodes); err != nil {
			return nil, err
		}
	}
	for _, n := range c.nodes {
		if err := n.writeConfig(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) newNode(id int, numbers []int) *Node {
	return &Node{
		ID:      id,
		Client:  loopback(numbers[0]),
		Broker:  loopback(numbers[1]),
		Raft:    loopback(numbers[2]),
		Admin:   loopback(numbers[3]),
		Dir:     filepath.Join(c.Dir, fmt.Sprintf("node-%d", id)),
		cluster: c,
	}
}

// Add makes a node that joins the cluster by asking seeds; the others' config files
// stay as they are. It is not started.
func (c *Cluster) Add(id int, seeds ...*Node) (*Node, error) {
	if c.nodes[id] != nil {
		return nil, fmt.Errorf("there is a node %d", id)
	}
	reserved, err := ports.Reserve(4)
	if err != nil {
		return nil, err
	}
	c.ports = append(c.ports, reserved)
	n := c.newNode(id, reserved.Numbers)
	n.join = seeds
	if c.certs != nil {
		if err := c.certs.Issue(nodeName(id), replicaName(id)); err != nil {
			return nil, err
		}
	}
	c.nodes[id] = n
	return n, n.writeConfig()
}

// Forget takes a node that does not run out of the cluster.
func (c *Cluster) Forget(id int) error {
	if n := c.nodes[id]; n == nil || n.Running() {
		return fmt.Errorf("node %d runs, or there is none", id)
	}
	delete(c.nodes, id)
	return nil
}

// Start starts every node and waits until all are ready.
func (c *Cluster) Start(ctx context.Context) error {
	for _, n := range c.Nodes() {
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Node returns the node with an id from 1 on.
func (c *Cluster) Node(id int) *Node { return c.nodes[id] }

// Nodes returns every node by ascending id.
func (c *Cluster) Nodes() []*Node {
	out := make([]*Node, 0, len(c.nodes))
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		out = append(out, c.nodes[id])
	}
	return out
}

// Bootstrap returns the clients' addresses of every node.
func (c *Cluster) Bootstrap() []string {
	var out []string
	for _, n := range c.Nodes() {
		out = append(out, n.Client)
	}
	return out
}

// Close kills what runs. It returns what could not be ended.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes() {
		if n.Running() {
			errs = append(errs, n.Kill())
		}
	}
	for _, p := range c.ports {
		errs = append(errs, p.Release())
	}
	return errors.Join(append(errs, c.network.close())...)
}

// Logs returns the last lines of every node's log, for the report of a failure.
func (c *Cluster) Logs(lines int) string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		fmt.Fprintf(&b, "--- node %d (%s)\n%s\n", n.ID, n.logFile(), n.tail(lines))
	}
	return b.String()
}

// Await polls until ok reports true, or ctx ends; then the error says what was
// waited for and what was seen last.
func Await(ctx context.Context, what string, ok func(context.Context) (bool, string)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var seen string
	for {
		var done bool
		if done, seen = ok(ctx); done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s, saw %s: %w", what, seen, ctx.Err())
		case <-tick.C:
		}
	}
}

// SetBackend writes another backend into every node's config file. The nodes
// must be stopped.
func (c *Cluster) SetBackend(name string) error {
	c.Backend = name
	for _, n := range c.Nodes() {
		if err := n.writeConfig(); err != nil {
			return err
		}
	}
	return nil
}
