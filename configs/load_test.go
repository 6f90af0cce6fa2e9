package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write what is printed into testdata; read the diff")

func part(a *txtar.Archive, name string) (string, bool) {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

// source writes the file of an archive into a fresh working directory and returns what
// Load takes.
func source(t *testing.T, a *txtar.Archive) Source {
	t.Helper()
	t.Chdir(t.TempDir())
	if file, ok := part(a, "quorate.yaml"); ok {
		if err := os.WriteFile("quorate.yaml", []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env, _ := part(a, "env")
	args, _ := part(a, "flags")
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return Source{Path: "quorate.yaml", Env: strings.Split(strings.TrimSpace(env), "\n"), Flags: flags}
}

// What an operator sees, word for word.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, name := range files {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Load(source(t, a))
			problems, ok := errors.AsType[*Problems](err)
			if !ok {
				t.Fatalf("got %v, want *Problems", err)
			}
			got := problems.Error() + "\n"
			want, there := part(a, "want")
			if *update {
				if !there {
					a.Files = append(a.Files, txtar.File{Name: "want"})
				}
				a.Files[len(a.Files)-1].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each source wins over the ones before it.
func TestOrder(t *testing.T) {
	a := txtar.Parse([]byte(`
-- quorate.yaml --
node: { id: 2, rack: from-file, data_dir: from-file }
listeners:
  - { name: only, bind: 127.0.0.1:1111 }
cluster:
  bind: 127.0.0.1:7002
  peers: { 1: 127.0.0.1:7001, 2: 127.0.0.1:7002, 3: 127.0.0.1:7003 }
consensus:
  options: { segment: 64, nested: { a: [1, 2] } }
  timing: { heartbeat: 20ms }
kafka:
  max.connections: 10
  max.connections.per.ip: 5
-- env --
QUORATE_NODE__RACK=from-env
QUORATE_NODE__DATA_DIR=from-env
QUORATE_LISTENERS__0__BIND=127.0.0.1:2222
QUORATE_CONSENSUS__PEERS__3=127.0.0.1:9
QUORATE_CONSENSUS__PEERS__1=127.0.0.1:7
QUORATE_CONSENSUS__PEERS__2=127.0.0.1:8
QUORATE_CONSENSUS__OPTIONS__SEGMENT=128
QUORATE_CONSENSUS__EXTERNAL__ENV__RUST_LOG=info
QUORATE_KAFKA__NUM_PARTITIONS=7
-- flags --
--data-dir=from-flag --set=kafka/num.partitions=8 --set=log/level=debug --set=consensus/external/args=a,b
`))
	cfg, err := Load(source(t, a))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Node = Node{ID: 2, Rack: "from-env", DataDir: "from-flag"}
	want.Listeners = []Listener{{Name: "only", Bind: "127.0.0.1:2222", Advertise: "127.0.0.1:2222", TLS: ListenerTLS{ClientAuth: "none"}}}
	want.Cluster.Bind, want.Cluster.Advertise = "127.0.0.1:7002", "127.0.0.1:7002"
	want.Cluster.Peers = map[int32]string{1: "127.0.0.1:7001", 2: "127.0.0.1:7002", 3: "127.0.0.1:7003"}
	want.Consensus.Peers = map[int32]string{1: "127.0.0.1:7", 2: "127.0.0.1:8", 3: "127.0.0.1:9"}
	want.Consensus.Peer = Peer{Listen: "127.0.0.1:8", Advertise: "127.0.0.1:8"}
	want.Consensus.Options = map[string]any{"segment": 128, "nested": map[string]any{"a": []any{1, 2}}}
	want.Consensus.External.Env = map[string]string{"RUST_LOG": "info"}
	want.Consensus.External.Args = []string{"a", "b"}
	want.Consensus.Timing.Heartbeat = 20 * time.Millisecond
	want.Kafka.NumPartitions, want.Kafka.MaxConnections, want.Kafka.MaxConnectionsPerIP = 8, 10, 5
	want.Kafka.DefaultReplicationFactor, want.Kafka.OffsetsTopicReplicationFactor, want.Kafka.MinInsyncReplicas = 3, 3, 2
	want.Log.Level = "debug"
	if diff := cmp.Diff(want, cfg, cmpopts.IgnoreFields(Config{}, "Origins"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for key, origin := range map[string]string{
		"node/id": "quorate.yaml:1", "node/rack": "environment variable QUORATE_NODE__RACK",
		"node/data_dir": "flag --data-dir", "log/level": "flag --set log/level",
	} {
		if got := cfg.Origins[key].String(); got != origin {
			t.Errorf("%s: got origin %q, want %q", key, got, origin)
		}
	}
}

// The other addresses follow from those of cluster/peers.
func TestDerivedPeers(t *testing.T) {
	a := txtar.Parse([]byte(`
-- quorate.yaml --
node: { id: 2 }
cluster: { insecure_peers: true, peers: { 1: "b1:7001", 2: "b2:7001", 3: "[::1]:7001" } }
`))
	cfg, err := Load(source(t, a))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]string{1: "b1:7101", 2: "b2:7101", 3: "[::1]:7101"}
	if diff := cmp.Diff(want, cfg.Consensus.Peers); diff != "" {
		t.Errorf("consensus/peers (-want +got):\n%s", diff)
	}
	if cfg.Cluster.Bind != "b2:7001" || cfg.Consensus.Peer.Listen != "b2:7101" {
		t.Errorf("got %s and %s, want b2:7001 and b2:7101", cfg.Cluster.Bind, cfg.Consensus.Peer.Listen)
	}
}

// A node that joins names somebody to ask; it need not know everybody, nor itself be
// known.
func TestJoin(t *testing.T) {
	a := txtar.Parse([]byte(`
-- quorate.yaml --
node: { id: 4 }
cluster: { join: true, insecure_peers: true, bind: "0.0.0.0:7001", advertise: "b4:7001", peers: { 1: "b1:7001" } }
`))
	cfg, err := Load(source(t, a))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Single() {
		t.Error("it takes itself for a cluster")
	}
	if got, want := cfg.Consensus.Peer.Advertise, "b4:7101"; got != want {
		t.Errorf("its replica is dialled at %s, want %s", got, want)
	}
	if got := cfg.Kafka.DefaultReplicationFactor; got != 3 {
		t.Errorf("replication factor %d, want 3", got)
	}
}

// quorate.yaml is what File writes, and loads as Default.
func TestFileIsDefault(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile("quorate.yaml", []byte(File()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile("quorate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(File(), string(content)); diff != "" {
		t.Errorf("run go test ./configs -update (-want +got):\n%s", diff)
	}
	got, err := Load(Source{Path: "quorate.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.resolve()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Origins"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("examples/*/*.yaml")
	if err != nil || len(files)+len(more) < 4 {
		t.Fatalf("got %v and %v, %v; want four examples", files, more, err)
	}
	for _, name := range append(files, more...) {
		cfg, err := Load(Source{Path: name})
		if err != nil {
			t.Error(err)
		}
		if nodes := len(cfg.Cluster.Peers); nodes != 1 && nodes != 3 && !cfg.Cluster.Join {
			t.Errorf("%s has %d nodes", name, nodes)
		}
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	cfg, err := Load(Source{Dev: true, Env: []string{"QUORATE_NODE__DATA_DIR=elsewhere", "QUORATE_NODE__ID=2"}})
	if err != nil {
		t.Fatal(err)
	}
	k := cfg.Kafka
	if cfg.Node.DataDir != "elsewhere" || cfg.Listeners[0].Bind != "127.0.0.1:9092" ||
		k.DefaultReplicationFactor != 1 || k.MinInsyncReplicas != 1 || k.OffsetsTopicReplicationFactor != 1 {
		t.Errorf("got %+v", cfg)
	}
	plain, err := Load(Source{Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Dev(), plain, cmpopts.IgnoreFields(Config{}, "Origins"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Dev is not what Load makes of nothing (-want +got):\n%s", diff)
	}
}

func TestExplain(t *testing.T) {
	a := txtar.Parse([]byte("-- quorate.yaml --\nnode:\n  id: 1\nadmin: { bind: 127.0.0.1:1 }\n"))
	entries, err := Explain(source(t, a))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Entry{}
	for _, e := range entries {
		if e.Meaning == "" {
			t.Errorf("%s has no meaning", e.Key)
		}
		got[e.Key] = e
	}
	for key, want := range map[string][2]string{
		"node/id":                          {"1", "quorate.yaml:2"},
		"admin/bind":                       {"127.0.0.1:1", "quorate.yaml:3"},
		"consensus/timing/heartbeat":       {"50ms", "default"},
		"kafka/min.insync.replicas":        {"1", "derived"},
		"listeners/0/advertise":            {"127.0.0.1:9092", "derived"},
		"consensus/supervision/hang_after": {"3s", "default"},
	} {
		if e := got[key]; e.Value != want[0] || e.Origin != want[1] {
			t.Errorf("%s: got %q from %q, want %q from %q", key, e.Value, e.Origin, want[0], want[1])
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name               string
		hours, minutes, ms int64
		want               time.Duration
	}{
		{"hours", 168, unset, unset, 168 * time.Hour},
		{"minutes win over hours", 168, 5, unset, 5 * time.Minute},
		{"milliseconds win over all", 168, 5, 7, 7 * time.Millisecond},
		{"never", 168, unset, -1, -1},
		{"longer than time itself", 1 << 60, unset, unset, -1},
	}
	for _, tt := range tests {
		k := Kafka{LogRetentionHours: tt.hours, LogRetentionMinutes: tt.minutes, LogRetentionMs: tt.ms}
		if got := k.Retention(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"backnd", "backend", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q to %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzFile: whatever the file holds, Load returns a Config or Problems.
func FuzzFile(f *testing.F) {
	f.Add([]byte(File()))
	f.Add([]byte("listeners: [{bind: &a 1}, *a]\nkafka: !!binary x"))
	f.Add([]byte("a: &a [*a]\n<<: {b: 1}"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Source{Path: path})
		if _, ok := errors.AsType[*Problems](err); err != nil && !ok {
			t.Fatalf("got %v, want *Problems", err)
		}
	})
}
