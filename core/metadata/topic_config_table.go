package metadata

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ConfigType is the type of a setting.
type ConfigType int8

// The types, numbered as in DescribeConfigs.
const (
	BooleanConfig ConfigType = 1
	StringConfig  ConfigType = 2
	IntConfig     ConfigType = 3
	LongConfig    ConfigType = 5
	DoubleConfig  ConfigType = 6
	ListConfig    ConfigType = 7
)

// TopicConfigDef is a setting that a topic may have.
type TopicConfigDef struct {
	Name    string
	Type    ConfigType
	Default string
	Synonym string // name of the broker's setting that topics inherit
	Doc     string
	check   func(value string) error
}

// Check tells what is wrong with a value.
func (d TopicConfigDef) Check(value string) error {
	if err := d.check(value); err != nil {
		return fmt.Errorf("Invalid value %s for configuration %s: %w", value, d.Name, err) //nolint:staticcheck // Kafka's sentence, shown to clients
	}
	return nil
}

// TopicConfigByName returns the setting of that name.
func TopicConfigByName(name string) (TopicConfigDef, bool) {
	d, ok := topicConfigByName[name]
	return d, ok
}

// TopicConfigBySynonym returns the setting that topics inherit from a broker's.
func TopicConfigBySynonym(name string) (TopicConfigDef, bool) {
	for _, d := range TopicConfigs {
		if d.Synonym == name {
			return d, true
		}
	}
	return TopicConfigDef{}, false
}

const (
	maxLong = "9223372036854775807"
	week    = "604800000"
)

// TopicConfigs is every setting of a topic, in the order of the alphabet. It
// must not be changed.
var TopicConfigs = []TopicConfigDef{
	{"cleanup.policy", ListConfig, "delete", "log.cleanup.policy", "What becomes of old segments: delete, compact, or both.", listOf("delete", "compact")},
	{"compression.type", StringConfig, "producer", "compression.type", "The codec records are stored with: producer, the one they came with, is all there is.", only("producer", "record batches are stored as producers send them; set compression.type at the producers")},
	{"delete.retention.ms", LongConfig, "86400000", "log.cleaner.delete.retention.ms", "How long compaction keeps tombstones.", long(0, math.MaxInt64)},
	{"durability.sync", StringConfig, "always", "wal.sync", "When an append may be acknowledged: once it is on stable storage, or at once and it is written soon after (interval), or at once and the operating system writes it (os).", oneOf("always", "interval", "os")},
	{"file.delete.delay.ms", LongConfig, "0", "log.segment.delete.delay.ms", "How long a removed file stays on disk: it does not; who reads it keeps what it has open.", only("0", "files are removed at once; who reads one keeps what it has open")},
	{"flush.messages", LongConfig, maxLong, "log.flush.interval.messages", "After how many records the log is synced even if nobody waits for it.", long(1, math.MaxInt64)},
	{"flush.ms", LongConfig, maxLong, "log.flush.interval.ms", "After what time the log is synced even if nobody waits for it.", long(0, math.MaxInt64)},
	{"index.interval.bytes", IntConfig, "4096", "log.index.interval.bytes", "Distance between the entries of a segment's offset index.", long(1, math.MaxInt32)},
	{"max.compaction.lag.ms", LongConfig, maxLong, "log.cleaner.max.compaction.lag.ms", "How long a record may stay uncompacted.", long(1, math.MaxInt64)},
	{"max.message.bytes", IntConfig, "1048588", "message.max.bytes", "The largest record batch, as it is stored.", long(1, math.MaxInt32)},
	{"message.timestamp.after.max.ms", LongConfig, "3600000", "log.message.timestamp.after.max.ms", "How far ahead of the broker's clock a record's time may be.", long(0, math.MaxInt64)},
	{"message.timestamp.before.max.ms", LongConfig, maxLong, "log.message.timestamp.before.max.ms", "How far behind the broker's clock a record's time may be.", long(0, math.MaxInt64)},
	{"message.timestamp.type", StringConfig, "CreateTime", "log.message.timestamp.type", "Whose clock a record's time is of: the producer's or the broker's.", oneOf("CreateTime", "LogAppendTime")},
	{"min.cleanable.dirty.ratio", DoubleConfig, "0.5", "log.cleaner.min.cleanable.ratio", "The share of a log that must be uncompacted before it is compacted.", ratio},
	{"min.compaction.lag.ms", LongConfig, "0", "log.cleaner.min.compaction.lag.ms", "How long a record stays uncompacted at least.", long(0, math.MaxInt64)},
	{"min.insync.replicas", IntConfig, "1", "min.insync.replicas", "How many replicas must have a record on disk before acks=all is answered.", long(1, math.MaxInt32)},
	{"preallocate", BooleanConfig, "false", "log.preallocate", "Whether a segment's file gets its full size when it is made: it never does.", only("false", "segments grow as they are written; what makes appends fast is the commit log, whose files are written in advance (wal.size.bytes)")},
	{"retention.bytes", LongConfig, "-1", "log.retention.bytes", "Size above which a partition's old segments are deleted; -1: no limit.", long(-1, math.MaxInt64)},
	{"retention.ms", LongConfig, week, "log.retention.ms", "Age above which segments are deleted; -1: never.", long(-1, math.MaxInt64)},
	{"segment.bytes", IntConfig, "1073741824", "log.segment.bytes", "Size at which a segment is rolled.", long(14, math.MaxInt32)},
	{"segment.index.bytes", IntConfig, "10485760", "log.index.size.max.bytes", "Size of a segment's offset index at which the segment is rolled.", long(4, math.MaxInt32)},
	{"segment.jitter.ms", LongConfig, "0", "log.roll.jitter.ms", "By how much at most segment.ms is shortened at random.", long(0, math.MaxInt64)},
	{"segment.ms", LongConfig, week, "log.roll.ms", "Age at which a segment is rolled.", long(1, math.MaxInt64)},
	{"unclean.leader.election.enable", BooleanConfig, "false", "unclean.leader.election.enable", "Whether a replica that is not in sync may lead if no other can; loses records.", oneOf("true", "false")},
}

var topicConfigByName = func() map[string]TopicConfigDef {
	m := make(map[string]TopicConfigDef, len(TopicConfigs))
	for _, d := range TopicConfigs {
		m[d.Name] = d
	}
	return m
}()

func long(low, high int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return errors.New("not a number")
		case n < low:
			return fmt.Errorf("value must be at least %d", low)
		case n > high:
			return fmt.Errorf("value must be at most %d", high)
		}
		return nil
	}
}

func ratio(value string) error {
	if f, err := strconv.ParseFloat(value, 64); err != nil || !(f >= 0 && f <= 1) {
		return errors.New("value must be a number from 0 to 1")
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("string must be one of: %s", strings.Join(words, ", "))
		}
		return nil
	}
}

// only is a setting of Kafka's that has one value here.
func only(word, why string) func(string) error {
	return func(value string) error {
		if value != word {
			return fmt.Errorf("only %s is supported: %s", word, why)
		}
		return nil
	}
}

func listOf(words ...string) func(string) error {
	check := oneOf(words...)
	return func(value string) error {
		for word := range strings.SplitSeq(value, ",") {
			if err := check(strings.TrimSpace(word)); err != nil {
				return err
			}
		}
		return nil
	}
}
