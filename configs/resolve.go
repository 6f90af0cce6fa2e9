package configs

import (
	"cmp"
	"net"
	"strconv"
)

// raftPortOffset is what lies between the port of a broker and that of its backend.
const raftPortOffset = 100

// anyPort is where a single node listens for peers that it does not have.
const anyPort = "127.0.0.1:0"

// Single says whether the cluster is this node alone.
func (c *Config) Single() bool { return len(c.Cluster.Peers) <= 1 && !c.Cluster.Join }

// resolve fills in what was left empty and follows from other keys.
func (c *Config) resolve() {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		l.Advertise = cmp.Or(l.Advertise, l.Bind)
		l.TLS.ClientAuth = cmp.Or(l.TLS.ClientAuth, "none")
	}
	c.Admin.TLS.ClientAuth = cmp.Or(c.Admin.TLS.ClientAuth, "none")
	c.resolveCluster()
	c.resolveConsensus()
	c.resolveKafka()
}

func (c *Config) resolveCluster() {
	own := c.Cluster.Peers[c.Node.ID]
	c.Cluster.Bind = cmp.Or(c.Cluster.Bind, own, anyPort)
	c.Cluster.Advertise = cmp.Or(c.Cluster.Advertise, own, c.Cluster.Bind)
	if len(c.Cluster.Peers) == 0 && !c.Cluster.Join {
		c.Cluster.Peers = map[int32]string{c.Node.ID: c.Cluster.Advertise}
	}
}

func (c *Config) resolveConsensus() {
	p := &c.Consensus.Peer
	if len(c.Consensus.Peers) == 0 {
		c.Consensus.Peers = make(map[int32]string, len(c.Cluster.Peers))
		for id, addr := range c.Cluster.Peers {
			c.Consensus.Peers[id] = raftAddress(addr)
		}
		if _, listed := c.Cluster.Peers[c.Node.ID]; listed && p.Advertise != "" {
			c.Consensus.Peers[c.Node.ID] = p.Advertise
		}
	}
	p.Listen = cmp.Or(p.Listen, c.dialledReplica(), raftAddress(c.Cluster.Bind))
	p.Advertise = cmp.Or(p.Advertise, c.Consensus.Peers[c.Node.ID], c.advertisedReplica(), p.Listen)
	if !p.TLS.Enabled() && p.TLS.CA == "" && p.TLS.Cert == "" && p.TLS.Key == "" {
		p.TLS = c.Cluster.TLS
	}
}

// dialledReplica is where the backend listens unless it is said: on the host of the
// cluster listener, at the port at which the others dial it.
func (c *Config) dialledReplica() string {
	host, _, err := net.SplitHostPort(c.Cluster.Bind)
	_, port, dialledErr := net.SplitHostPort(c.Consensus.Peers[c.Node.ID])
	if err != nil || dialledErr != nil || c.Single() || c.Consensus.Peer.Advertise != "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// advertisedReplica is where the backend of a node that joins is dialled, unless it is
// said: on the host of its cluster listener, at the port that it listens on.
func (c *Config) advertisedReplica() string {
	host, _, err := net.SplitHostPort(c.Cluster.Advertise)
	_, port, listenErr := net.SplitHostPort(c.Consensus.Peer.Listen)
	if err != nil || listenErr != nil {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// raftAddress is where the backend of a broker listens unless it is said.
func raftAddress(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // a problem that is reported already
	}
	n, err := strconv.Atoi(port)
	if err != nil || n == 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(n+raftPortOffset))
}

func (c *Config) resolveKafka() {
	k := &c.Kafka
	usual := int16(max(1, min(3, len(c.Cluster.Peers))))
	if c.Cluster.Join {
		usual = 3 // as in the cluster, whose size is not known here
	}
	k.DefaultReplicationFactor = cmp.Or(k.DefaultReplicationFactor, usual)
	k.OffsetsTopicReplicationFactor = cmp.Or(k.OffsetsTopicReplicationFactor, usual)
	if k.MinInsyncReplicas == 0 {
		k.MinInsyncReplicas = 1
		if k.DefaultReplicationFactor >= 3 {
			k.MinInsyncReplicas = 2
		}
	}
}
