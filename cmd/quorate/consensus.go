package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin"
)

func newConsensus() *cobra.Command {
	nodes := &adminNodes{}
	cmd := &cobra.Command{
		Use:   "consensus",
		Short: "Look at the metadata log's replicas, and change them",
		Long: `Look at the metadata log's replicas, and change them, whatever backend keeps it.

The commands talk to the admin listeners of nodes. Changes are made by the leader:
give its address, or those of all nodes, and it is found among them.`,
	}
	nodes.register(cmd)
	return parent(cmd, newConsensusStatus(nodes), newConsensusTransfer(nodes), newConsensusAdd(nodes),
		newConsensusPromote(nodes), newConsensusRemove(nodes), newConsensusDemote(nodes), newConsensusSetAddress(nodes), newConsensusSnapshot(nodes),
		newConsensusExport(), newConsensusImport(), newConsensusDiff(), newConsensusRecover())
}

// defaultAdmin is where a node's admin listener is, unless told otherwise.
const defaultAdmin = "127.0.0.1:9644"

// adminVariable is the environment variable of --admin.
const adminVariable = "QUORATE_ADMIN"

// adminNodes are the nodes whose admin listeners a command talks to.
type adminNodes struct {
	addresses []string
	timeout   time.Duration
	tls       tlsFlags
	transport http.RoundTripper // made at the first call
	prepare   sync.Once
	err       error // of transport
}

func (n *adminNodes) register(cmd *cobra.Command) {
	addresses := strings.Split(envOr(adminVariable, defaultAdmin), ",")
	cmd.PersistentFlags().StringSliceVar(&n.addresses, "admin", addresses, "`addresses` of the admin listeners of one or more nodes (environment: "+adminVariable+")")
	cmd.PersistentFlags().DurationVar(&n.timeout, "timeout", 35*time.Second, "how long to wait for the nodes")
	n.tls.register(cmd)
}

// dialer returns what requests are made with, and the scheme of their addresses.
func (n *adminNodes) dialer() (http.RoundTripper, string, error) {
	n.prepare.Do(func() {
		secure, err := n.tls.config()
		if n.err = err; secure != nil {
			n.transport = &http.Transport{TLSClientConfig: secure}
		}
	})
	if n.transport == nil {
		return http.DefaultTransport, "http", n.err
	}
	return n.transport, "https", n.err
}

// answered is what one admin listener said.
type answered struct {
	address string
	status  admin.ConsensusStatus
	err     error
}

// ask asks every node at once, and returns the answers in the order of the
// addresses. The error is that nobody answered.
func (n *adminNodes) ask(ctx context.Context) ([]answered, error) {
	all := make([]answered, len(n.addresses))
	done := make(chan struct{})
	for i, address := range n.addresses {
		go func() {
			all[i].address = address
			all[i].err = n.call(ctx, http.MethodGet, address, "/consensus", nil, &all[i].status)
			done <- struct{}{}
		}()
	}
	for range all {
		<-done
	}
	for _, a := range all {
		if a.err == nil {
			return all, nil
		}
	}
	return all, all[0].err
}

// leader returns the address of the node that leads, as far as the nodes that
// are known can tell.
func (n *adminNodes) leader(ctx context.Context) (answered, error) {
	all, err := n.ask(ctx)
	if err != nil {
		return answered{}, err
	}
	var known answered
	for _, a := range all {
		switch {
		case a.err != nil:
		case a.status.Replica.Role == "leader-ready":
			return a, nil
		case known.address == "" || a.status.Replica.Leader != 0:
			known = a
		}
	}
	if leader := known.status.Replica.Leader; leader != 0 {
		return known, fmt.Errorf("replica %d leads the metadata log, not node %d: give the address of its admin listener with --admin", leader, known.status.Node)
	}
	return known, errors.New("the metadata log has no leader just now; try again, and look at quorate consensus status")
}

// post asks a node for a change. The answer goes into result.
func (n *adminNodes) post(ctx context.Context, address, path string, body, result any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return n.call(ctx, http.MethodPost, address, path, encoded, result)
}

func (n *adminNodes) call(ctx context.Context, method, address, path string, body []byte, result any) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	resp, err := n.request(ctx, method, address, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(address, resp.Status, content)
	}
	if err := json.Unmarshal(content, result); err != nil {
		return fmt.Errorf("%s does not answer as a node does: %w; is --admin the address of an admin listener?", address, err)
	}
	return nil
}

// request asks a node; the caller closes the answer's body.
func (n *adminNodes) request(ctx context.Context, method, address, path string, body []byte) (*http.Response, error) {
	transport, scheme, err := n.dialer()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+address+path, bytes.NewReader(body))
	if err != nil {
		return nil, usagef("--admin %s: %w", address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		return resp, nil
	}
	if why := tlsReason(err); why != "" {
		return nil, &explainedError{fmt.Sprintf("no way to talk to %s: %s", address, why), err}
	}
	return nil, &explainedError{fmt.Sprintf("no node answers at %s: %s; is it running, and is --admin right?", address, reason(err)), err}
}

// refusal is what a node said instead of doing what it was asked to, for people.
func refusal(address, status string, content []byte) error {
	var e admin.ConsensusError
	if err := json.Unmarshal(content, &e); err != nil || e.Message == "" {
		return fmt.Errorf("%s answers %s; is --admin the address of an admin listener?", address, status)
	}
	switch e.Code {
	case "not-leader":
		if e.Leader != 0 {
			return fmt.Errorf("the node at %s does not lead the metadata log, replica %d does: ask that one", address, e.Leader)
		}
		return fmt.Errorf("the node at %s does not lead the metadata log, and knows of no leader; try again", address)
	case "unsupported":
		return fmt.Errorf("the consensus backend cannot do this: %s", e.Message)
	case "stale-config":
		return fmt.Errorf("the membership was changed by somebody else meanwhile: look at it and try again (%s)", e.Message)
	case "pending":
		return fmt.Errorf("another change is under way: wait for it and try again (%s)", e.Message)
	case "uncertain":
		return fmt.Errorf("no answer in time: it may have happened or not, see quorate consensus status (%s)", e.Message)
	default:
		return errors.New(e.Message)
	}
}
