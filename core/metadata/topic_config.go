package metadata

import (
	"slices"
	"strconv"
	"strings"
)

// BrokerDefaults are the broker's own settings by Kafka's broker names, such as
// "min.insync.replicas" or "log.retention.ms". Those that are missing have the
// default of TopicConfigs.
type BrokerDefaults map[string]string

// ConfigSource says where a value comes from.
type ConfigSource int8

// The sources, numbered as in DescribeConfigs.
const (
	SourceTopic          ConfigSource = 1 // set on the topic
	SourceBroker         ConfigSource = 2 // set on one broker at run time
	SourceClusterDefault ConfigSource = 3 // set on all brokers at run time
	SourceStatic         ConfigSource = 4 // in the broker's config file
	SourceDefault        ConfigSource = 5 // of the table
)

// ConfigSynonym is one place that a value may come from.
type ConfigSynonym struct {
	Name   string // in that place: "retention.ms" on a topic, "log.retention.ms" on a broker
	Value  string
	Source ConfigSource
}

// TopicConfig is a topic's configuration as of one image, wherever each value
// comes from: the topic, all brokers, the broker's file, the table.
type TopicConfig struct {
	topic, cluster map[string]string
	defaults       BrokerDefaults
}

// TopicConfig returns the configuration of a topic, which need not exist.
func (i *Image) TopicConfig(topic string, defaults BrokerDefaults) TopicConfig {
	return TopicConfig{
		topic:    i.configs[ConfigResource{Type: TopicResource, Name: topic}],
		cluster:  i.configs[ConfigResource{Type: BrokerResource}],
		defaults: defaults,
	}
}

// Value returns the value of a setting and where it comes from; ok is false if
// there is no such setting.
func (c TopicConfig) Value(name string) (value string, source ConfigSource, ok bool) {
	if all := c.Synonyms(name); len(all) > 0 {
		return all[0].Value, all[0].Source, true
	}
	return "", 0, false
}

// Synonyms returns every place that has a value for the setting, the one that
// counts first, and nothing if there is no such setting.
func (c TopicConfig) Synonyms(name string) []ConfigSynonym {
	def, ok := TopicConfigByName(name)
	if !ok {
		return nil
	}
	var out []ConfigSynonym
	if v, ok := c.topic[name]; ok {
		out = append(out, ConfigSynonym{name, v, SourceTopic})
	}
	if v, ok := c.cluster[def.Synonym]; ok {
		out = append(out, ConfigSynonym{def.Synonym, v, SourceClusterDefault})
	}
	if v, ok := c.defaults[def.Synonym]; ok {
		out = append(out, ConfigSynonym{def.Synonym, v, SourceStatic})
	}
	return append(out, ConfigSynonym{def.Synonym, def.Default, SourceDefault})
}

// long returns a number of the table. Values were validated when they were set;
// one that is no number all the same counts as not set.
func (c TopicConfig) long(name string) int64 {
	for _, s := range c.Synonyms(name) {
		if n, err := strconv.ParseInt(s.Value, 10, 64); err == nil {
			return n
		}
	}
	return 0
}

func (c TopicConfig) text(name string) string {
	v, _, _ := c.Value(name)
	return v
}

func (c TopicConfig) list(name string) []string {
	return strings.Split(strings.ReplaceAll(c.text(name), " ", ""), ",")
}

// MinISR is how many in-sync replicas acks=all needs, at least 1.
func (c TopicConfig) MinISR() int { return max(1, int(c.long("min.insync.replicas"))) }

// MaxMessageBytes bounds a record batch.
func (c TopicConfig) MaxMessageBytes() int { return int(c.long("max.message.bytes")) }

// RetentionMillis is how long records are kept; -1 means for ever.
func (c TopicConfig) RetentionMillis() int64 { return c.long("retention.ms") }

// RetentionBytes is how large a partition grows; -1 means without limit.
func (c TopicConfig) RetentionBytes() int64 { return c.long("retention.bytes") }

// SegmentBytes is the size at which a segment is rolled.
func (c TopicConfig) SegmentBytes() int64 { return c.long("segment.bytes") }

// SegmentMillis is the age at which a segment is rolled.
func (c TopicConfig) SegmentMillis() int64 { return c.long("segment.ms") }

// IndexIntervalBytes is the distance between entries of a segment's index.
func (c TopicConfig) IndexIntervalBytes() int { return int(c.long("index.interval.bytes")) }

// SegmentJitterMillis is by how much at most SegmentMillis is shortened.
func (c TopicConfig) SegmentJitterMillis() int64 { return c.long("segment.jitter.ms") }

// SegmentIndexBytes is the size of an index at which a segment is rolled.
func (c TopicConfig) SegmentIndexBytes() int { return int(c.long("segment.index.bytes")) }

// DeleteRetentionMillis is how long compaction keeps tombstones.
func (c TopicConfig) DeleteRetentionMillis() int64 { return c.long("delete.retention.ms") }

// MinCompactionLagMillis is how long a record stays uncompacted at least.
func (c TopicConfig) MinCompactionLagMillis() int64 { return c.long("min.compaction.lag.ms") }

// MaxCompactionLagMillis is the age at which a record is due to be compacted.
func (c TopicConfig) MaxCompactionLagMillis() int64 { return c.long("max.compaction.lag.ms") }

// DurabilitySync says when an append may be acknowledged: always, interval or os.
func (c TopicConfig) DurabilitySync() string { return c.text("durability.sync") }

// FlushMessages is after how many records the log is synced.
func (c TopicConfig) FlushMessages() int64 { return c.long("flush.messages") }

// FlushMillis is the age in milliseconds at which records are synced.
func (c TopicConfig) FlushMillis() int64 { return c.long("flush.ms") }

// TimestampBeforeMaxMillis is how far in the past a record's time may be.
func (c TopicConfig) TimestampBeforeMaxMillis() int64 {
	return c.long("message.timestamp.before.max.ms")
}

// TimestampAfterMaxMillis is how far in the future a record's time may be.
func (c TopicConfig) TimestampAfterMaxMillis() int64 { return c.long("message.timestamp.after.max.ms") }

// Compacts tells whether the log keeps the last record of every key.
func (c TopicConfig) Compacts() bool { return slices.Contains(c.list("cleanup.policy"), "compact") }

// Deletes tells whether old segments are deleted.
func (c TopicConfig) Deletes() bool { return slices.Contains(c.list("cleanup.policy"), "delete") }

// LogAppendTime tells whether records get the broker's time.
func (c TopicConfig) LogAppendTime() bool { return c.text("message.timestamp.type") == "LogAppendTime" }

// UncleanLeaderElection tells whether a replica outside the ISR may lead if no
// other can, at the price of records.
func (c TopicConfig) UncleanLeaderElection() bool {
	return c.text("unclean.leader.election.enable") == "true"
}

// MinCleanableDirtyRatio is the share of a log that must be uncompacted before
// it is compacted.
func (c TopicConfig) MinCleanableDirtyRatio() float64 {
	for _, s := range c.Synonyms("min.cleanable.dirty.ratio") {
		if f, err := strconv.ParseFloat(s.Value, 64); err == nil {
			return f
		}
	}
	return 0
}
