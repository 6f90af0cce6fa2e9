package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/quorate/quorate/cmd/quorate/bench"
	"github.com/quorate/quorate/test/lab"
)

// The variants that are Apache Kafka: as it is out of the box, and with an fsync
// before every acknowledgement.
const (
	kafkaOS     = "kafka"
	kafkaAlways = "kafka, fsync"
)

// kafkaCluster is Apache Kafka's brokers, each with a controller.
type kafkaCluster struct {
	dir  string
	cmds []*exec.Cmd
}

// startKafka starts Apache Kafka from the jars of r.kafka.
func (r *runner) startKafka(ctx context.Context, variant string, nodes int) (*server, error) {
	dir, err := r.directory()
	if err != nil {
		return nil, err
	}
	k := &kafkaCluster{dir: dir}
	s := &server{stop: k.stop}
	// A lab that is never started reserves the ports.
	ports, err := lab.New(lab.Options{Binary: r.binary, Dir: dir, Backend: "etcd-raft", Nodes: nodes})
	if err != nil {
		return nil, err
	}
	defer k.release(ports)
	var voters []string
	for _, n := range ports.Nodes() {
		voters = append(voters, fmt.Sprintf("%d@%s", n.ID, n.Raft))
	}
	for _, n := range ports.Nodes() {
		pid, err := r.startKafkaNode(ctx, k, n, variant, strings.Join(voters, ","), nodes)
		if err != nil {
			k.stop()
			return nil, err
		}
		s.pids, s.bootstrap = append(s.pids, pid), append(s.bootstrap, n.Client)
	}
	for _, addr := range s.bootstrap {
		err := lab.Await(ctx, "Kafka at "+addr, func(ctx context.Context) (bool, string) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return false, err.Error()
			}
			return true, fmt.Sprint(conn.Close())
		})
		if err != nil {
			k.stop()
			return nil, err
		}
	}
	return s, nil
}

func (r *runner) startKafkaNode(ctx context.Context, k *kafkaCluster, n *lab.Node, variant, voters string, nodes int) (pid int, err error) {
	settings := fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=CLIENTS://%s,BROKERS://%s,CONTROLLER://%s
advertised.listeners=CLIENTS://%s,BROKERS://%s
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKERS
listener.security.protocol.map=CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=%s
min.insync.replicas=%d
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
`, n.ID, voters, n.Client, n.Broker, n.Raft, n.Client, n.Broker, filepath.Join(n.Dir, "kafka"), min(2, nodes))
	if variant == kafkaAlways {
		settings += "log.flush.interval.messages=1\n"
	}
	file := filepath.Join(n.Dir, "server.properties")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return 0, err
	}
	format := exec.CommandContext(ctx, "java", "-cp", r.kafka, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", file)
	if out, err := format.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(n.Dir, "kafka.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command("java", "-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-cp", r.kafka, "kafka.Kafka", file)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, n.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start Kafka: %w", err)
	}
	k.cmds = append(k.cmds, cmd)
	return cmd.Process.Pid, nil
}

// release lets go of the ports when Kafka has them, or nobody needs them.
func (*kafkaCluster) release(ports *lab.Cluster) {
	_ = ports.Close() // nothing was started
}

func (k *kafkaCluster) stop() {
	for _, cmd := range k.cmds {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	}
	os.RemoveAll(k.dir)
}

// rival is which Kafka a mode of wal.sync is compared with.
func rival(mode string) string {
	if mode == "os" {
		return kafkaOS
	}
	return kafkaAlways
}

// againstKafka runs the load of three nodes on Quorate and on Apache Kafka, with the
// same durability, in turns.
func againstKafka(ctx context.Context, r *runner) ([]figure, error) {
	if r.kafka == "" {
		fmt.Fprintln(r.log, "left out: no -kafka CLASSPATH")
		return nil, nil
	}
	var out []figure
	for _, mode := range r.modes {
		t := table{}
		err := r.interleave(ctx, []string{mode, rival(mode)}, func(variant string) error { return r.loadBoth(ctx, t, variant) })
		if err != nil {
			return nil, err
		}
		ours, theirs := t[mode], t[rival(mode)]
		per, p99 := 1/t.ratio(mode, rival(mode), "CPU-s/GB"), t.ratio(mode, rival(mode), "p99")
		name := "three nodes against Apache Kafka, RF 3, acks=all, " + sync(mode)
		out = append(out,
			judged(name, ">= 2 x throughput per CPU-second", fmt.Sprintf("%.1f x: %s and %s CPU-s/GB, %s and %s", per,
				ours["CPU-s/GB"].seen("%.1f"), theirs["CPU-s/GB"].seen("%.1f"), ours["MB/s"].seen("%.0f"), theirs["MB/s"].seen("%.0f MB/s")), per >= 2, t),
			judged(fmt.Sprintf("%s, at %d records/s", name, kafkaRate), "p99 <= 0.5 x", fmt.Sprintf("%.2f x: %s and %s", p99, ours["p99"].seen("%.1f"), theirs["p99"].seen("%.1f ms")), p99 <= 0.5, nil))
	}
	return out, nil
}

// kafkaRate is the load under which the latencies are compared, in records per
// second: one that six processes on two CPUs can carry.
const kafkaRate = 5000

func (r *runner) loadBoth(ctx context.Context, t table, variant string) error {
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := r.start(starting, variant, 3)
	if err != nil {
		return err
	}
	defer s.stop()
	var got bench.ProduceResult
	// Kafka's code is compiled while it warms up.
	if err := r.load(ctx, s, &got, "produce", "load", "-p", "12", "-r", "3", "--record-size", "1000", "--batch-size", "64KiB",
		"--connections", connections, "--warmup", "8s", "--duration", (r.seconds() + 8e9).String()); err != nil {
		return err
	}
	t.add(variant, "MB/s", got.BytesPerSecond/1e6)
	t.add(variant, "CPU-s/GB", got.Server.CPUSecondsPerGB)
	var slow bench.ProduceResult
	if err := r.load(ctx, s, &slow, "produce", "load", "--record-size", "1000", "--rate", strconv.Itoa(kafkaRate), "--connections", connections,
		"--warmup", "2s", "--duration", (r.seconds() + 2e9).String()); err != nil {
		return err
	}
	t.add(variant, "p50", slow.LatencyMillis.P50)
	t.add(variant, "p99", slow.LatencyMillis.P99)
	fmt.Fprintf(r.log, "%-12s %7.1f MB/s, server %.2f CPU-s/GB; p50 %.2f, p99 %.2f ms\n", variant, got.BytesPerSecond/1e6, got.Server.CPUSecondsPerGB, slow.LatencyMillis.P50, slow.LatencyMillis.P99)
	return nil
}
