package core

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/consensus/consensustest"
)

const metricsPage = "../docs/operations/metrics.md"

// shown is what the page says of a metric.
type shown struct {
	kind   string // empty if it has no series yet
	labels string
}

// TestMetricsPage holds the page of all metrics equal to what a broker that has worked
// shows.
func TestMetricsPage(t *testing.T) {
	broker := workedBroker(t)
	got, helps := shownBy(t, broker.registry)
	want := documented(t)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		g, w := got[name], want[name]
		if g.kind == "" {
			g.kind = w.kind
		}
		if g != w {
			t.Errorf("%s should have:\n| `%s` | %s | %s | %s |", metricsPage, name, g.kind, g.labels, helps[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s has %s, and no broker does", metricsPage, name)
		}
	}
}

// Every stage of a request is counted once for each request that has it.
func TestRequestStages(t *testing.T) {
	broker := workedBroker(t)
	counts := countsOf(t, broker.registry)
	// An answer is counted after it was sent.
	for deadline := time.Now().Add(time.Minute); counts["quorate_request_stage_seconds Produce client send"] == 0 ||
		counts["quorate_request_stage_seconds Fetch client send"] == 0; counts = countsOf(t, broker.registry) {
		if time.Now().After(deadline) {
			t.Fatal("the stage send was never counted")
		}
		time.Sleep(time.Millisecond)
	}
	for _, stage := range []string{"request_queue", "begin", "response_queue", "wait", "send"} {
		if got := counts["quorate_request_stage_seconds Produce client "+stage]; got != 1 {
			t.Errorf("stage %s of Produce was counted %d times, want once", stage, got)
		}
		if got := counts["quorate_request_stage_seconds Fetch client "+stage]; got < 1 {
			t.Errorf("stage %s of Fetch was not counted", stage)
		}
	}
	for _, name := range []string{"quorate_produce_stage_seconds append", "quorate_produce_stage_seconds validate", "quorate_fetch_stage_seconds consumer read"} {
		if counts[name] < 1 {
			t.Errorf("%s was not counted", name)
		}
	}
}

// countsOf returns how often each histogram of each set of labels was observed.
func countsOf(t *testing.T, reg *prometheus.Registry) map[string]uint64 {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counts[name] = m.GetHistogram().GetSampleCount()
		}
	}
	return counts
}

// workedBroker returns a broker that has served a producer and a consumer.
func workedBroker(t *testing.T) *Broker {
	fake := consensustest.NewFake()
	fake.Elect(1)
	cfg := DefaultConfig()
	cfg.BrokerID, cfg.ClusterID, cfg.DataDir = int32(fake.ID()), "test", t.TempDir()
	cfg.Listeners = []Listener{{Name: "clients", Bind: "127.0.0.1:0", Host: "127.0.0.1"}}
	cfg.Admin.Bind = ""
	b, err := New(cfg, fake, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
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
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr("clients").String()), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	work, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(client).CreateTopic(work, 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(work, &kgo.Record{Topic: "orders", Value: []byte("a")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if fetches := client.PollFetches(work); fetches.NumRecords() != 1 {
		t.Fatalf("fetched %d records: %v", fetches.NumRecords(), fetches.Err())
	}
	return b
}

var (
	description = regexp.MustCompile(`fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)",.* constLabels: {([^}]*)}, variableLabels: {([^}]*)}`)
	constLabel  = regexp.MustCompile(`(\w+)="`)
	row         = regexp.MustCompile("(?m)^\\| `(quorate_[a-z_]+)` \\| (\\w+) \\| ([^|]*?) \\| [^|]+ \\|$")
)

// shownBy returns the metrics of a registry, those without series included, and their
// help. Go's own are left out.
func shownBy(t *testing.T, reg *prometheus.Registry) (all map[string]shown, helps map[string]string) {
	all, helps = map[string]shown{}, map[string]string{}
	descs := make(chan *prometheus.Desc)
	go func() {
		reg.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		var labels []string
		for _, l := range constLabel.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		if m[4] != "" {
			labels = append(labels, strings.Split(m[4], ",")...)
		}
		all[m[1]], helps[m[1]] = shown{labels: listed(labels)}, m[2]
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		all[f.GetName()] = shown{kindOfMetric(f.GetType()), listed(slices.Collect(maps.Keys(labels)))}
		helps[f.GetName()] = f.GetHelp()
	}
	maps.DeleteFunc(all, func(name string, _ shown) bool { return !strings.HasPrefix(name, "quorate_") })
	return all, helps
}

func kindOfMetric(t dto.MetricType) string { return strings.ToLower(t.String()) }

// listed is labels as the page has them.
func listed(labels []string) string {
	slices.Sort(labels)
	for i, l := range labels {
		labels[i] = fmt.Sprintf("`%s`", l)
	}
	return strings.Join(labels, ", ")
}

// documented reads the table of the page.
func documented(t *testing.T) map[string]shown {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]shown{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		if _, twice := all[m[1]]; twice {
			t.Errorf("%s has %s twice", metricsPage, m[1])
		}
		all[m[1]] = shown{m[2], m[3]}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no table of metrics", metricsPage)
	}
	return all
}
