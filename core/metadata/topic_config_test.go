package metadata

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTopicConfigsAcceptTheirDefaults(t *testing.T) {
	if !slices.IsSortedFunc(TopicConfigs, func(a, b TopicConfigDef) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in order")
	}
	for _, d := range TopicConfigs {
		if err := d.Check(d.Default); err != nil {
			t.Error(err)
		}
		if d.Doc == "" || d.Synonym == "" {
			t.Errorf("%s has no doc or synonym", d.Name)
		}
	}
}

func TestTopicConfigCheck(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"retention.ms", "-1", ""},
		{"retention.ms", "-2", "Invalid value -2 for configuration retention.ms: value must be at least -1"},
		{"retention.ms", "week", "not a number"},
		{"segment.bytes", "2147483648", "value must be at most 2147483647"},
		{"cleanup.policy", "compact, delete", ""},
		{"cleanup.policy", "compact,shred", "string must be one of: delete, compact"},
		{"cleanup.policy", "", "string must be one of"},
		{"min.cleanable.dirty.ratio", "1.1", "from 0 to 1"},
		{"min.cleanable.dirty.ratio", "NaN", "from 0 to 1"},
		{"unclean.leader.election.enable", "yes", "string must be one of: true, false"},
		{"min.insync.replicas", "0", "at least 1"},
		{"index.interval.bytes", "0", "at least 1"},
		{"max.message.bytes", "0", "at least 1"},
		{"compression.type", "producer", ""},
		{"compression.type", "zstd", "Invalid value zstd for configuration compression.type: only producer is supported"},
		{"file.delete.delay.ms", "60000", "only 0 is supported"},
		{"preallocate", "true", "only false is supported"},
		{"preallocate", "false", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			d, ok := TopicConfigByName(tt.name)
			if !ok {
				t.Fatal("no such setting")
			}
			err := d.Check(tt.value)
			if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTopicConfigSources(t *testing.T) {
	all := ConfigResource{Type: BrokerResource}
	img := mustImage(t, Empty(), append(baseRecords(),
		ConfigRecord{Resource: all, Name: "log.retention.ms", Value: new("6")},
		ConfigRecord{Resource: all, Name: "min.insync.replicas", Value: new("2")},
	)...)
	c := img.TopicConfig("orders", BrokerDefaults{"log.retention.ms": "7", "log.segment.bytes": "1024", "message.max.bytes": "many"})
	want := []ConfigSynonym{
		{"retention.ms", "5", SourceTopic},
		{"log.retention.ms", "6", SourceClusterDefault},
		{"log.retention.ms", "7", SourceStatic},
		{"log.retention.ms", "604800000", SourceDefault},
	}
	if d := cmp.Diff(want, c.Synonyms("retention.ms")); d != "" {
		t.Errorf("synonyms (-want +got):\n%s", d)
	}
	if got := []int64{c.RetentionMillis(), int64(c.MinISR()), c.SegmentBytes(), int64(c.MaxMessageBytes())}; !slices.Equal(got, []int64{5, 2, 1024, 1048588}) {
		t.Errorf("values %v", got)
	}
	if !c.Deletes() || c.Compacts() || c.UncleanLeaderElection() || c.MinCleanableDirtyRatio() != 0.5 {
		t.Error("defaults of the table are wrong")
	}
	if _, _, ok := c.Value("no.such"); ok {
		t.Error("a setting that does not exist has a value")
	}
}
