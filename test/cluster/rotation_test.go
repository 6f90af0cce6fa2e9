//go:build integration

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// The authority and every node's certificates are replaced under load, in the order in
// which it is done in earnest: a second authority is trusted, certificates are signed
// by it, the first one is trusted no more. Nothing restarts meanwhile; afterwards,
// what restarts finds its way. Files that cannot be used change nothing.
func TestCertificatesRotate(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, ClusterTLS: true})
			ctx := within(t, 4*time.Minute)
			certs := c.Certificates()
			must(t, certs.Issue("outsider"))
			must(t, c.CreateTopic(ctx, c.Node(1), "rotated", 3, 3, nil))
			w, err := lab.StartWorkload(ctx, c.Bootstrap(), "rotated", 3, 200, 1)
			must(t, err)
			must(t, w.AwaitProgress(ctx, 100))
			pids := pluginPIDs(t, c)

			rotate(ctx, t, c, "a second authority", certs.AddAuthority)
			rotate(ctx, t, c, "new certificates", c.Renew)
			shown(t, c)
			rotate(ctx, t, c, "the first authority is dropped", certs.DropAuthorities)
			for _, n := range c.Nodes() {
				for what, address := range map[string]string{"broker": n.Broker, "plugin": n.Raft} {
					refused, err := certs.Refused(address, "outsider")
					must(t, err)
					if !refused {
						t.Errorf("the %s of node %d takes a certificate of the authority that was dropped", what, n.ID)
					}
				}
			}
			if now := pluginPIDs(t, c); fmt.Sprint(now) != fmt.Sprint(pids) {
				t.Errorf("plugins were started again: %v, before %v", now, pids)
			}

			rubbish(ctx, t, c, c.Node(1))
			for _, n := range c.Nodes() { // every connection is made anew, with what is new
				must(t, n.KillPlugin())
				must(t, recovered(ctx, c, n))
			}
			must(t, errors.Join(c.Node(2).Kill(), c.Node(2).Start()))
			must(t, c.Node(2).AwaitReady(ctx))
			must(t, c.Node(1).AwaitTopic(ctx, "rotated", 3))
			must(t, w.AwaitProgress(ctx, 100))
			must(t, w.Stop(ctx))
			for _, n := range c.Nodes() {
				must(t, w.Verify(ctx, n.Client))
			}
		})
	}
}

// rotate changes files and waits until every node has taken them in, for its broker
// and for its plugin.
func rotate(ctx context.Context, t *testing.T, c *lab.Cluster, what string, change func() error) {
	t.Helper()
	before := map[string]int{}
	for _, n := range c.Nodes() {
		for _, user := range []string{"cluster/tls", "consensus/peer/tls"} {
			before[fmt.Sprint(n.ID, user)] = renewals(t, n, user)
		}
	}
	must(t, change())
	for _, n := range c.Nodes() {
		for _, user := range []string{"cluster/tls", "consensus/peer/tls"} {
			must(t, lab.Await(ctx, fmt.Sprintf("%s at node %d, %s", what, n.ID, user), func(context.Context) (bool, string) {
				now := renewals(t, n, user)
				return now > before[fmt.Sprint(n.ID, user)], fmt.Sprint(now, " renewals")
			}))
		}
	}
}

func renewals(t *testing.T, n *lab.Node, user string) int {
	t.Helper()
	log, err := n.Log()
	must(t, err)
	return strings.Count(log, `msg="certificates renewed" component=certificates for=`+user+" ")
}

// shown checks that every listener between nodes shows what the newest authority signed.
func shown(t *testing.T, c *lab.Cluster) {
	t.Helper()
	must(t, c.Certificates().Issue("visitor"))
	for _, n := range c.Nodes() {
		for what, address := range map[string]string{"broker": n.Broker, "plugin": n.Raft} {
			cert, err := c.Certificates().Shown(address, "visitor")
			must(t, err)
			if !c.Certificates().SignedByNewest(cert) {
				t.Errorf("the %s of node %d still shows the certificate %d", what, n.ID, cert.SerialNumber)
			}
		}
	}
}

// rubbish puts something into a node's file that is no certificate, and takes it back.
func rubbish(ctx context.Context, t *testing.T, c *lab.Cluster, n *lab.Node) {
	t.Helper()
	file := c.Certificates().Cert(fmt.Sprintf("node-%d", n.ID))
	good, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("not a certificate"), 0o600))
	must(t, lab.Await(ctx, "the node to tell of the file", func(context.Context) (bool, string) {
		log, err := n.Log()
		return err == nil && strings.Count(log, "new certificates cannot be used: the old ones are kept") == 2, "not yet for both"
	}))
	shown(t, c)
	must(t, os.WriteFile(file, good, 0o600))
}

func pluginPIDs(t *testing.T, c *lab.Cluster) []int {
	t.Helper()
	var pids []int
	for _, n := range c.Nodes() {
		pid, err := n.PluginPID()
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}
