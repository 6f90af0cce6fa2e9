package configs

import "time"

// Config is everything that an operator can set.
//
// The tags are the schema: koanf names the key, kind says what a value must look like
// (values.go), doc is what Explain and quorate.yaml tell.
type Config struct {
	Node      Node       `koanf:"node"      doc:"This node."`
	Listeners []Listener `koanf:"listeners" doc:"Where Kafka clients connect."`
	Cluster   Cluster    `koanf:"cluster"   doc:"The brokers of the cluster. A single node needs none of it."`
	Consensus Consensus  `koanf:"consensus" doc:"The backend that keeps the metadata log."`
	Admin     Admin      `koanf:"admin"     doc:"HTTP for operators."`
	Kafka     Kafka      `koanf:"kafka"     doc:"Kafka's broker settings, by Kafka's names."`
	Log       Log        `koanf:"log"       doc:"The broker's own log, on stderr."`

	// Origins tells where the value of a key comes from: file, environment or flag.
	// A key with its default is missing.
	Origins map[string]Origin `koanf:"-"`
}

// Node is this node.
type Node struct {
	ID      int32  `koanf:"id"       kind:"int" min:"1" max:"2147483647" doc:"Unique in the cluster, and for ever: the data directory belongs to it."`
	Rack    string `koanf:"rack"     kind:"text" doc:"Replicas of a partition are spread over racks."`
	DataDir string `koanf:"data_dir" kind:"path" doc:"Where everything is stored; relative to the working directory."`
}

// Listener is a socket for Kafka clients.
type Listener struct {
	Name           string      `koanf:"name"      kind:"text" doc:"For logs and metrics; unique."`
	Bind           string      `koanf:"bind"      kind:"bind" doc:"host:port to listen on."`
	Advertise      string      `koanf:"advertise" kind:"address" doc:"host:port that clients are told to connect to; empty: the same as bind."`
	TLS            ListenerTLS `koanf:"tls"       doc:"TLS is on if cert and key are set."`
	AllowPlaintext bool        `koanf:"allow_plaintext" kind:"bool" doc:"Permits a listener beyond loopback that anybody can use and read."`
}

// ListenerTLS is the TLS of a client listener.
type ListenerTLS struct {
	CA         string `koanf:"ca"          kind:"file" doc:"PEM file of the authorities that sign clients' certificates."`
	Cert       string `koanf:"cert"        kind:"file" doc:"PEM file of this listener's certificate."`
	Key        string `koanf:"key"         kind:"file" doc:"PEM file of the certificate's key."`
	ClientAuth string `koanf:"client_auth" kind:"choice" of:"none request require" doc:"Whether clients show a certificate: none, request, require."`
}

// Enabled says whether the listener speaks TLS.
func (t ListenerTLS) Enabled() bool { return t.Cert != "" && t.Key != "" }

// PeerTLS is the identity of this node towards the others. Both sides are verified.
type PeerTLS struct {
	CA          string   `koanf:"ca"           kind:"file" doc:"PEM file of the authority that signs the nodes' certificates."`
	Cert        string   `koanf:"cert"         kind:"file" doc:"PEM file of this node's certificate."`
	Key         string   `koanf:"key"          kind:"file" doc:"PEM file of the certificate's key."`
	ServerName  string   `koanf:"server_name"  kind:"text" doc:"Name that the others' certificates must have; empty: the host that is dialled."`
	AllowedSANs []string `koanf:"allowed_sans" kind:"list" doc:"If set, only certificates with one of these names are accepted."`
}

// Enabled says whether the nodes speak TLS with each other.
func (t PeerTLS) Enabled() bool { return t.CA != "" && t.Cert != "" && t.Key != "" }

// Cluster is the brokers that form the cluster.
type Cluster struct {
	ID            string           `koanf:"id"        kind:"text" doc:"Name of the cluster. A node refuses to join another one."`
	Join          bool             `koanf:"join"      kind:"bool" doc:"This node joins a cluster that runs, instead of beginning one with its peers; nothing to change once it has."`
	Bind          string           `koanf:"bind"      kind:"bind" doc:"host:port for the other brokers; empty: any port of loopback, for a single node."`
	Advertise     string           `koanf:"advertise" kind:"address" doc:"host:port that the other brokers dial; empty: this node's entry in peers."`
	Peers         map[int32]string `koanf:"peers"     kind:"address" doc:"Every broker, this one included: id to host:port; to join a cluster, one or more that are in it."`
	TLS           PeerTLS          `koanf:"tls"       doc:"Mutual TLS between brokers; on if ca, cert and key are set."`
	InsecurePeers bool             `koanf:"insecure_peers" kind:"bool" doc:"Permits plaintext between nodes beyond loopback."`
}

// Consensus is the backend and its process.
type Consensus struct {
	Backend     string           `koanf:"backend"     kind:"choice" of:"solo etcd-raft hashicorp-raft external" doc:"solo (one node, not replicated), etcd-raft, hashicorp-raft, or external."`
	External    External         `koanf:"external"    doc:"Somebody else's backend. \"quorate plugin info PATH\" prints what belongs here."`
	Peer        Peer             `koanf:"peer"        doc:"Where the backend talks to those of the other nodes."`
	Peers       map[int32]string `koanf:"peers"       kind:"address" doc:"The backends of every node: id to host:port; empty: those of cluster/peers, port plus 100."`
	Incarnation string           `koanf:"incarnation" kind:"text" doc:"Of a cluster that was recovered, for nodes that join it afterwards: as \"quorate consensus recover\" printed it."`
	Timing      Timing           `koanf:"timing"      doc:"How fast the loss of a leader is noticed."`
	Log         ConsensusLog     `koanf:"log"         doc:"How much of the metadata log is kept."`
	Options     map[string]any   `koanf:"options"     doc:"The backend's own settings, checked by the backend."`
	Supervision Supervision      `koanf:"supervision" doc:"How the backend's process is watched."`
}

// External is a backend that is not part of this binary.
type External struct {
	Path   string            `koanf:"path"   kind:"path" doc:"The executable."`
	SHA256 string            `koanf:"sha256" kind:"sha256" doc:"Its checksum; it is not started with another one."`
	Args   []string          `koanf:"args"   kind:"list" doc:"Its arguments."`
	Env    map[string]string `koanf:"env"    kind:"text" doc:"Its environment, besides what the broker sets."`
}

// Peer is the backend's own listener.
type Peer struct {
	Listen    string  `koanf:"listen"    kind:"bind" doc:"host:port; empty: the host of cluster/bind, and the port of this node in consensus/peers, else that of cluster/bind plus 100."`
	Advertise string  `koanf:"advertise" kind:"address" doc:"host:port that the other backends dial; empty: this node's entry in consensus/peers."`
	TLS       PeerTLS `koanf:"tls"       doc:"Mutual TLS between backends; empty: that of cluster/tls."`
}

// Timing is the timing of leadership.
type Timing struct {
	Heartbeat       time.Duration `koanf:"heartbeat"        kind:"duration" min:"1ms" doc:"Between a leader's signs of life."`
	ElectionTimeout time.Duration `koanf:"election_timeout" kind:"duration" min:"10ms" doc:"Silence after which there is an election; at least twice the heartbeat."`
	LeaderLease     time.Duration `koanf:"leader_lease"     kind:"duration" doc:"How long a leader without a quorum goes on; 0s: half the election timeout."`
}

// ConsensusLog bounds the metadata log.
type ConsensusLog struct {
	SnapshotEntries int `koanf:"snapshot_entries" kind:"int" min:"10" doc:"A snapshot of the metadata is made after so many entries, or after 16 MiB of them."`
	RetainEntries   int `koanf:"retain_entries"   kind:"int" min:"1" doc:"Entries kept behind it for nodes that were away; who is further behind gets the snapshot."`
}

// Supervision is how the backend's process is watched.
type Supervision struct {
	StartTimeout   time.Duration `koanf:"start_timeout"   kind:"duration" min:"100ms" doc:"From the start of the process to its first answer."`
	HealthInterval time.Duration `koanf:"health_interval" kind:"duration" min:"10ms" doc:"Between two questions after its health."`
	HangAfter      time.Duration `koanf:"hang_after"      kind:"duration" min:"100ms" doc:"Without progress for so long it is killed and started again."`
	StopGrace      time.Duration `koanf:"stop_grace"      kind:"duration" doc:"For an orderly stop, before it is killed."`
	BackoffMin     time.Duration `koanf:"backoff_min"     kind:"duration" min:"1ms" doc:"Before the first restart; doubled each time."`
	BackoffMax     time.Duration `koanf:"backoff_max"     kind:"duration" min:"1ms" doc:"Longest pause before a restart."`
	CrashLimit     int           `koanf:"crash_limit"     kind:"int" min:"1" doc:"Crashes per minute above which the pause stays at its longest."`
}

// Admin is the HTTP listener for operators.
type Admin struct {
	Bind           string      `koanf:"bind" kind:"bind" doc:"host:port of /metrics, /livez, /readyz, /consensus and /debug/pprof."`
	TLS            ListenerTLS `koanf:"tls" doc:"TLS is on if cert and key are set; client_auth: require is its only authentication."`
	AllowPlaintext bool        `koanf:"allow_plaintext" kind:"bool" doc:"Permits it beyond loopback without authentication."`
}

// Log is the broker's own log.
type Log struct {
	Level  string `koanf:"level"  kind:"choice" of:"debug info warn error" doc:"debug, info, warn, error."`
	Format string `koanf:"format" kind:"choice" of:"auto text json" doc:"text, json, or auto: colours on a terminal, else text."`
}
