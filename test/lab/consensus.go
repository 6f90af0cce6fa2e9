package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/core/admin"
)

// Consensus asks the node for the state of its metadata log and its plugin.
func (n *Node) Consensus(ctx context.Context) (admin.ConsensusStatus, error) {
	var s admin.ConsensusStatus
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Admin+"/consensus", http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// Run runs a quorate command with the cluster's admin addresses, and returns
// what it printed.
func (c *Cluster) Run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var addresses []string
	for _, n := range c.Nodes() {
		addresses = append(addresses, n.Admin)
	}
	cmd := exec.CommandContext(ctx, c.Binary, args...)
	cmd.Env = append(cmd.Environ(), "QUORATE_ADMIN="+strings.Join(addresses, ","))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Reign watches who leads the metadata log in which term.
type Reign struct {
	stop func()
	done chan struct{}

	mu      sync.Mutex
	leaders map[uint64]int32 // by term
	wrong   []string
}

// WatchReign asks every node again and again until Stop.
func (c *Cluster) WatchReign(ctx context.Context) *Reign {
	ctx, cancel := context.WithCancel(ctx)
	r := &Reign{stop: cancel, done: make(chan struct{}), leaders: make(map[uint64]int32)}
	var wg sync.WaitGroup
	for _, n := range c.Nodes() {
		wg.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				if s, err := n.Consensus(ctx); err == nil && strings.HasPrefix(s.Replica.Role, "leader") {
					r.note(s.Replica.Term, s.Node)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(r.done)
	}()
	return r
}

func (r *Reign) note(term uint64, node int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.leaders[term]; ok && other != node {
		r.wrong = append(r.wrong, fmt.Sprintf("nodes %d and %d both led in term %d", other, node, term))
	}
	r.leaders[term] = node
}

// Stop ends the watch; it returns how many terms had a leader that was seen, and
// an error if one of them had two.
func (r *Reign) Stop() (terms int, err error) {
	r.stop()
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		err = fmt.Errorf("%s", strings.Join(r.wrong, "; "))
	}
	return len(r.leaders), err
}
