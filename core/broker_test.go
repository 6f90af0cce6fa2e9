package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core"
)

// testBroker is a whole broker in this process, over real sockets and files, on
// a consensus that the test steers.
type testBroker struct {
	addr string
	log  *consensustest.Fake
}

// startBroker starts a single broker that leads its metadata in term 1; it ends
// with the test.
func startBroker(t *testing.T, change func(*core.Config)) *testBroker {
	t.Helper()
	fake := consensustest.NewFake()
	fake.Elect(1)
	cfg := testConfig(t, int32(fake.ID()))
	if change != nil {
		change(&cfg)
	}
	return &testBroker{addr: runBroker(t, cfg, fake), log: fake}
}

func testConfig(t *testing.T, id int32) core.Config {
	t.Helper()
	cfg := core.DefaultConfig()
	cfg.BrokerID, cfg.ClusterID, cfg.DataDir = id, "test", t.TempDir()
	cfg.Listeners = []core.Listener{{Name: "clients", Bind: "127.0.0.1:0", Host: "127.0.0.1"}}
	cfg.Admin.Bind = ""
	cfg.Group.InitialRebalanceDelay = 0
	cfg.API.OffsetsPartitions, cfg.API.OffsetsReplicationFactor = 2, 1
	return cfg
}

// runBroker runs a broker until the test ends and returns its clients' address.
func runBroker(t *testing.T, cfg core.Config, fake *consensustest.Fake) string {
	t.Helper()
	return runBrokerWith(t, cfg, fake, func(*core.Broker) {})
}

// runBrokerWith is runBroker, and shows the broker before it runs.
func runBrokerWith(t *testing.T, cfg core.Config, fake *consensustest.Fake, show func(*core.Broker)) string {
	t.Helper()
	b, err := core.New(cfg, fake, testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	show(b)
	if err := b.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return b.Addr("clients").String()
}

func testLogger(t *testing.T) *slog.Logger {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// client is a Kafka client of the broker.
func (b *testBroker) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.addr), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProduceAndConsume(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, 30*time.Second)
	client := b.client(t)
	adm := kadm.NewClient(client)
	_, err := adm.CreateTopic(ctx, 3, 1, nil, "orders")
	must(t, err)
	const count = 200
	for i := range count {
		must(t, client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}).FirstErr())
	}
	consumer := b.client(t, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]bool{}
	for len(seen) < count {
		fetches := consumer.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	ends, err := adm.ListEndOffsets(ctx, "orders")
	must(t, err)
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != count {
		t.Errorf("end offsets add up to %d, want %d", total, count)
	}
}

func TestAutoCreateTopics(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		t.Run(fmt.Sprint(enabled), func(t *testing.T) {
			b := startBroker(t, func(c *core.Config) { c.API.AutoCreateTopics = enabled })
			ctx := within(t, 10*time.Second)
			client := b.client(t, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(3))
			err := client.ProduceSync(ctx, &kgo.Record{Topic: "made-up", Value: []byte("x")}).FirstErr()
			if enabled != (err == nil) {
				t.Errorf("auto creation %v: produce gave %v", enabled, err)
			}
		})
	}
}

// What was acknowledged is there after a restart of the broker on the same
// directory and log, and so is the group's position.
func TestRestart(t *testing.T) {
	fake := consensustest.NewFake()
	fake.Elect(1)
	cfg := testConfig(t, int32(fake.ID()))
	ctx := within(t, 30*time.Second)
	const count = 50
	t.Run("before", func(t *testing.T) {
		b := &testBroker{addr: runBroker(t, cfg, fake), log: fake}
		client := b.client(t, kgo.DefaultProduceTopic("kept"), kgo.AllowAutoTopicCreation())
		for i := range count {
			must(t, client.ProduceSync(ctx, &kgo.Record{Value: fmt.Append(nil, i)}).FirstErr())
		}
		consumeSome(ctx, t, b, 20)
	})
	fake.Depose()
	fake.Elect(2)
	t.Run("after", func(t *testing.T) {
		b := &testBroker{addr: runBroker(t, cfg, fake), log: fake}
		rest := consumeSome(ctx, t, b, count-20)
		if rest[0] != "20" || rest[len(rest)-1] != fmt.Sprint(count-1) {
			t.Errorf("the group went on with %s and ended with %s, want 20 to %d", rest[0], rest[len(rest)-1], count-1)
		}
	})
}

// consumeSome consumes count records as group "readers", commits and leaves.
func consumeSome(ctx context.Context, t *testing.T, b *testBroker, count int) []string {
	t.Helper()
	c := b.client(t, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("kept"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var out []string
	for len(out) < count {
		fetches := c.PollRecords(ctx, count-len(out))
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { out = append(out, string(r.Value)) })
	}
	must(t, c.CommitUncommittedOffsets(ctx))
	must(t, c.LeaveGroupContext(ctx))
	return out
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	fake := consensustest.NewFake()
	cfg := testConfig(t, int32(fake.ID()))
	cfg.Listeners[0].Bind = l.Addr().String()
	b, err := core.New(cfg, fake, testLogger(t))
	must(t, err)
	err = b.Listen()
	if err == nil {
		t.Fatal("bound a port that is in use")
	}
	t.Log(err)
}

// While the metadata has no leader, records still flow: leadership is answered
// from the image. What needs a decision gets an error that can be retried.
func TestMetadataWithoutLeader(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, 30*time.Second)
	client := b.client(t, kgo.DefaultProduceTopic("flowing"))
	adm := kadm.NewClient(client)
	_, err := adm.CreateTopic(ctx, 1, 1, nil, "flowing")
	must(t, err)
	must(t, client.ProduceSync(ctx, kgo.StringRecord("before")).FirstErr())
	b.log.Depose()
	must(t, client.ProduceSync(ctx, kgo.StringRecord("meanwhile")).FirstErr())
	short := within(t, time.Second)
	if _, err := adm.CreateTopic(short, 1, 1, nil, "undecided"); err == nil {
		t.Error("created a topic without a metadata leader")
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Logf("create without a leader: %v", err)
	}
	b.log.Elect(2)
	_, err = adm.CreateTopic(ctx, 1, 1, nil, "decided")
	must(t, err)
}
