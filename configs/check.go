package configs

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
)

// check looks for what is wrong between keys. Keys that are wrong in themselves have
// been reported.
func (l *loader) check(c *Config) {
	l.inThemselves = len(l.problems.List)
	for _, f := range []func(*Config){
		l.checkNode, l.checkListeners, l.checkPeers, l.checkOwnPorts, l.checkPlaintextPeers, l.checkConsensus, l.checkKafka, l.checkAdmin,
	} {
		f(c)
	}
}

// wrong adds a problem with a key at the place where it, or what it follows from, stands.
func (l *loader) wrong(key, format string, args ...any) {
	for _, p := range l.problems.List[:l.inThemselves] {
		if p.Key != "" && below(key, p.Key) {
			return // wrong in itself: that was said
		}
	}
	l.complain(key, l.place(key), fmt.Sprintf(format, args...))
}

// tainted says whether something under key is wrong in itself, so that conclusions
// from it would be noise.
func (l *loader) tainted(key string) bool {
	return slices.ContainsFunc(l.problems.List[:l.inThemselves], func(p Problem) bool { return below(p.Key, key) })
}

func (l *loader) checkNode(c *Config) {
	if c.Node.DataDir == "" {
		l.wrong("node/data_dir", "is empty")
	}
	if l.tainted("cluster/peers") {
		return
	}
	if c.Cluster.Join {
		l.checkJoin(c)
		return
	}
	if _, ok := c.Cluster.Peers[c.Node.ID]; !ok {
		l.wrong("node/id", "%d is not in cluster/peers, which has %v", c.Node.ID, slices.Sorted(maps.Keys(c.Cluster.Peers)))
	}
}

// checkJoin wants somebody to ask, and an address that the others can dial.
func (l *loader) checkJoin(c *Config) {
	others := len(c.Cluster.Peers)
	if _, ok := c.Cluster.Peers[c.Node.ID]; ok {
		others--
	}
	if others == 0 {
		l.wrong("cluster/join", "needs cluster/peers with at least one node of the cluster that is to be joined, such as 1: %q", "node1:7001")
	}
	for _, a := range []struct{ key, address, from string }{
		{"cluster/advertise", c.Cluster.Advertise, "cluster/bind"},
		{"consensus/peer/advertise", c.Consensus.Peer.Advertise, "consensus/peer/listen"},
	} {
		host, port, err := net.SplitHostPort(a.address)
		if err == nil && (wildcard(host) || port == "0") {
			l.wrong(a.key, "is needed to join: the others cannot dial %s, which follows from %s", a.address, a.from)
		}
	}
	if c.Consensus.Backend == "solo" {
		l.wrong("cluster/join", "solo is for one node, which cannot join others")
	}
}

func (l *loader) checkListeners(c *Config) {
	if len(c.Listeners) == 0 {
		l.wrong("listeners", "there is none; clients need one")
	}
	names, binds := map[string]bool{}, map[string]bool{}
	for i, x := range c.Listeners {
		key := "listeners/" + strconv.Itoa(i)
		switch {
		case x.Name == "":
			l.wrong(key, "has no name")
		case names[x.Name]:
			l.wrong(key+"/name", "%q is the name of another listener", x.Name)
		}
		if names[x.Name] = true; x.Bind == "" {
			l.wrong(key, "has no bind")
			continue
		}
		if binds[x.Bind] && !anyPortOf(x.Bind) {
			l.wrong(key+"/bind", "%s is bound by another listener", x.Bind)
		}
		binds[x.Bind] = true
		l.checkListener(key, x)
	}
}

func (l *loader) checkListener(key string, x Listener) {
	if host, _, err := net.SplitHostPort(x.Advertise); err == nil && wildcard(host) {
		l.wrong(key+"/advertise", "is needed: clients cannot connect to %s", x.Bind)
	}
	l.checkListenerTLS(key+"/tls", x.TLS)
	authenticated := x.TLS.Enabled() && x.TLS.ClientAuth == "require"
	if !authenticated && !loopback(x.Bind) && !x.AllowPlaintext {
		l.wrong(key+"/bind", "%s is beyond loopback and anybody could connect; set tls with client_auth: require, or bind 127.0.0.1, or permit it with %s/allow_plaintext: true", x.Bind, key)
	}
}

func (l *loader) checkListenerTLS(key string, t ListenerTLS) {
	switch {
	case t.Enabled():
		if t.ClientAuth != "none" && t.CA == "" {
			l.wrong(key+"/ca", "is needed to verify the certificates of clients")
		}
	case t.Cert != "" || t.Key != "" || t.CA != "":
		l.wrong(key, "needs both cert and key")
	}
}

func (l *loader) checkPeers(c *Config) {
	for _, dict := range []struct {
		key   string
		peers map[int32]string
	}{{"cluster/peers", c.Cluster.Peers}, {"consensus/peers", c.Consensus.Peers}} {
		seen := map[string]int32{}
		for _, id := range slices.Sorted(maps.Keys(dict.peers)) {
			addr := dict.peers[id]
			key := fmt.Sprintf("%s/%d", dict.key, id)
			if other, ok := seen[addr]; ok {
				l.wrong(key, "%s is the address of node %d", addr, other)
			}
			seen[addr] = id
			if addr == "" {
				l.wrong(key, "is empty")
			}
		}
	}
	if l.tainted("cluster/peers") || l.tainted("consensus/peers") {
		return
	}
	if want, got := slices.Sorted(maps.Keys(c.Cluster.Peers)), slices.Sorted(maps.Keys(c.Consensus.Peers)); !slices.Equal(want, got) {
		l.wrong("consensus/peers", "has nodes %v, cluster/peers has %v", got, want)
	}
}

// checkOwnPorts refuses a listener on another port than the one at which the other
// nodes dial this one, unless what they dial was said: then something forwards.
func (l *loader) checkOwnPorts(c *Config) {
	for _, x := range []struct{ listen, bind, peers, dialled, advertise string }{
		{"cluster/bind", c.Cluster.Bind, "cluster/peers", c.Cluster.Peers[c.Node.ID], "cluster/advertise"},
		{"consensus/peer/listen", c.Consensus.Peer.Listen, "consensus/peers", c.Consensus.Peers[c.Node.ID], "consensus/peer/advertise"},
	} {
		_, want, dialledErr := net.SplitHostPort(x.dialled)
		_, got, bindErr := net.SplitHostPort(x.bind)
		if dialledErr != nil || bindErr != nil || got == want || c.Single() || l.advertised[x.advertise] {
			continue
		}
		l.wrong(x.listen, "%s is not on the port at which the others dial this node, %s of %s/%d; make them the same, or set %s if something forwards from there",
			x.bind, x.dialled, x.peers, c.Node.ID, x.advertise)
	}
}

// checkPlaintextPeers refuses plaintext between machines unless it was asked for.
func (l *loader) checkPlaintextPeers(c *Config) {
	for _, t := range []struct {
		key string
		tls PeerTLS
	}{{"cluster/tls", c.Cluster.TLS}, {"consensus/peer/tls", c.Consensus.Peer.TLS}} {
		if !t.tls.Enabled() && (t.tls.CA != "" || t.tls.Cert != "" || t.tls.Key != "") {
			l.wrong(t.key, "needs all of ca, cert and key")
		}
	}
	if c.Cluster.InsecurePeers {
		return
	}
	const how = "%s is beyond loopback and nodes would talk in plaintext; set %s, or permit it with cluster/insecure_peers: true"
	if !c.Cluster.TLS.Enabled() && !loopback(c.Cluster.Bind) {
		l.wrong("cluster/bind", how, c.Cluster.Bind, "cluster/tls")
	}
	if !c.Consensus.Peer.TLS.Enabled() && !loopback(c.Consensus.Peer.Listen) && c.Consensus.Backend != "solo" {
		l.wrong("consensus/peer/listen", how, c.Consensus.Peer.Listen, "consensus/peer/tls")
	}
}

func (l *loader) checkConsensus(c *Config) {
	x := c.Consensus
	if x.Timing.ElectionTimeout < 2*x.Timing.Heartbeat {
		l.wrong("consensus/timing/election_timeout", "%v is less than twice the heartbeat, %v", x.Timing.ElectionTimeout, x.Timing.Heartbeat)
	}
	if x.Timing.LeaderLease > x.Timing.ElectionTimeout {
		l.wrong("consensus/timing/leader_lease", "%v is longer than the election timeout, %v", x.Timing.LeaderLease, x.Timing.ElectionTimeout)
	}
	if x.Supervision.BackoffMax < x.Supervision.BackoffMin {
		l.wrong("consensus/supervision/backoff_max", "%v is less than backoff_min, %v", x.Supervision.BackoffMax, x.Supervision.BackoffMin)
	}
	if x.Backend == "solo" && !c.Single() && !c.Cluster.Join {
		l.wrong("consensus/backend", "solo is for one node, cluster/peers has %d", len(c.Cluster.Peers))
	}
	if external := x.Backend == "external"; external && x.External.Path == "" {
		l.wrong("consensus/external/path", "is needed by the backend external")
	} else if external && x.External.SHA256 == "" {
		l.wrong("consensus/external/sha256", "is needed by the backend external; \"quorate plugin info %s\" prints it", x.External.Path)
	}
}

func (l *loader) checkKafka(c *Config) {
	k := c.Kafka
	if !l.tainted("cluster/peers") && !c.Cluster.Join { // the size of the cluster is not known to who joins
		l.checkReplication(k, len(c.Cluster.Peers))
	}
	if k.GroupMinSessionTimeoutMs > k.GroupMaxSessionTimeoutMs {
		l.wrong("kafka/group.min.session.timeout.ms", "%d is more than group.max.session.timeout.ms, %d", k.GroupMinSessionTimeoutMs, k.GroupMaxSessionTimeoutMs)
	}
	if k.BrokerSessionTimeoutMs < 2*k.BrokerHeartbeatIntervalMs {
		l.wrong("kafka/broker.session.timeout.ms", "%d is less than twice broker.heartbeat.interval.ms, %d", k.BrokerSessionTimeoutMs, k.BrokerHeartbeatIntervalMs)
	}
	if k.MessageMaxBytes > k.SocketRequestMaxBytes {
		l.wrong("kafka/message.max.bytes", "%d is more than socket.request.max.bytes, %d", k.MessageMaxBytes, k.SocketRequestMaxBytes)
	}
}

func (l *loader) checkReplication(k Kafka, nodes int) {
	if int(k.DefaultReplicationFactor) > nodes {
		l.wrong("kafka/default.replication.factor", "%d is more than the number of nodes, %d", k.DefaultReplicationFactor, nodes)
	}
	if int(k.OffsetsTopicReplicationFactor) > nodes {
		l.wrong("kafka/offsets.topic.replication.factor", "%d is more than the number of nodes, %d", k.OffsetsTopicReplicationFactor, nodes)
	}
	if k.MinInsyncReplicas > int(k.DefaultReplicationFactor) {
		l.wrong("kafka/min.insync.replicas", "%d is more than default.replication.factor, %d: nothing could be written with acks=all", k.MinInsyncReplicas, k.DefaultReplicationFactor)
	}
}

func (l *loader) checkAdmin(c *Config) {
	l.checkListenerTLS("admin/tls", c.Admin.TLS)
	authenticated := c.Admin.TLS.Enabled() && c.Admin.TLS.ClientAuth == "require"
	switch {
	case c.Admin.Bind == "":
		l.wrong("admin/bind", "is empty")
	case !authenticated && !loopback(c.Admin.Bind) && !c.Admin.AllowPlaintext:
		l.wrong("admin/bind", "%s is beyond loopback and anybody could use it; set admin/tls with client_auth: require, or bind 127.0.0.1, or permit it with admin/allow_plaintext: true", c.Admin.Bind)
	}
}

// loopback says whether an address is reachable from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // wrong in itself: that was said
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func anyPortOf(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}
