package configs

import (
	"strconv"
	"time"
)

// Kafka is the settings that Kafka's server.properties has, by the same names and in
// the same units.
type Kafka struct {
	NumPartitions            int32 `koanf:"num.partitions"             kind:"int" min:"1" max:"10000" doc:"Partitions of a topic whose creator does not say."`
	DefaultReplicationFactor int16 `koanf:"default.replication.factor" kind:"int" min:"0" max:"1000" doc:"Replicas of a partition whose creator does not say; 0: the number of nodes, 3 at most."`
	MinInsyncReplicas        int   `koanf:"min.insync.replicas"        kind:"int" min:"0" max:"1000" doc:"In-sync replicas without which acks=all is refused; 0: 2 if default.replication.factor is 3 or more, else 1."`
	AutoCreateTopicsEnable   bool  `koanf:"auto.create.topics.enable"  kind:"bool" doc:"A topic that a client asks for by name comes into being."`

	LogRetentionHours       int64  `koanf:"log.retention.hours"  kind:"int" min:"-1" doc:"Age above which segments are deleted; -1: never."`
	LogRetentionMinutes     int64  `koanf:"log.retention.minutes" kind:"int" min:"-2" doc:"The same in minutes, before the hours; -2: not set."`
	LogRetentionMs          int64  `koanf:"log.retention.ms"     kind:"int" min:"-2" doc:"The same in milliseconds, before the others; -2: not set."`
	LogRetentionBytes       int64  `koanf:"log.retention.bytes"  kind:"int" min:"-1" doc:"Size above which a partition's old segments are deleted; -1: no limit."`
	LogRetentionCheckMs     int64  `koanf:"log.retention.check.interval.ms" kind:"int" min:"1" doc:"Between two looks for segments to delete."`
	ProducerIDExpirationMs  int64  `koanf:"producer.id.expiration.ms" kind:"int" min:"1" doc:"How long a producer that writes nothing is remembered, so that what it sends again is not stored twice; one with an open transaction for ever."`
	LogSegmentBytes         int64  `koanf:"log.segment.bytes"    kind:"int" min:"1048576" max:"2147483647" doc:"Size at which a segment is rolled."`
	LogRollHours            int64  `koanf:"log.roll.hours"       kind:"int" min:"1" doc:"Age at which a segment is rolled."`
	LogIndexIntervalBytes   int    `koanf:"log.index.interval.bytes" kind:"int" min:"1" max:"1073741824" doc:"Distance between the entries of a segment's index."`
	LogCleanupPolicy        string `koanf:"log.cleanup.policy"  kind:"choice" of:"delete compact compact,delete delete,compact" doc:"What becomes of old segments."`
	LogCleanerThreads       int    `koanf:"log.cleaner.threads" kind:"int" min:"1" max:"64" doc:"Logs that are compacted at a time."`
	LogCleanerBuffer        int64  `koanf:"log.cleaner.dedupe.buffer.size" kind:"int" min:"1048576" max:"68719476736" doc:"Memory for the keys of the logs that are compacted, 24 bytes a key."`
	LogCleanerIOMax         int64  `koanf:"log.cleaner.io.max.bytes.per.second" kind:"int" min:"0" doc:"What compaction reads and writes in a second; 0: no limit."`
	LogCleanerBackoffMs     int64  `koanf:"log.cleaner.backoff.ms" kind:"int" min:"1" doc:"Between two looks for logs to compact."`
	LogFlushMessages        int64  `koanf:"log.flush.interval.messages" kind:"int" min:"1" doc:"After how many records a log is synced although nobody waits for it; 1: before each is acknowledged."`
	LogFlushMs              int64  `koanf:"log.flush.interval.ms" kind:"int" min:"0" doc:"After what time a log is synced although nobody waits for it."`
	LogMessageTimestampType string `koanf:"log.message.timestamp.type" kind:"choice" of:"CreateTime LogAppendTime" doc:"Whose clock a record's time is of: the producer's or the broker's."`
	MessageMaxBytes         int    `koanf:"message.max.bytes"    kind:"int" min:"1024" max:"104857600" doc:"The largest record batch, as it is stored."`
	ReplicaLagTimeMaxMs     int64  `koanf:"replica.lag.time.max.ms" kind:"int" min:"100" doc:"A follower that is behind for so long leaves the in-sync replicas."`
	ReplicaFetchWaitMaxMs   int64  `koanf:"replica.fetch.wait.max.ms" kind:"int" min:"1" max:"60000" doc:"How long a follower's fetch waits at the leader for new records."`

	LogMaxOpenFiles int `koanf:"log.max.open.files" kind:"int" min:"0" max:"10000000" doc:"Files of partitions that are kept open; 0: half of what the process may open (ulimit -n)."`

	WALSync              string `koanf:"wal.sync" kind:"choice" of:"always interval os" doc:"When a record may be acknowledged: once it is on disk; or at once, and it is written soon after (interval) or when the operating system likes (os). Topics override it as durability.sync."`
	WALSyncIntervalMs    int64  `koanf:"wal.sync.interval.ms" kind:"int" min:"1" max:"60000" doc:"With wal.sync interval: within what time records are on disk."`
	WALSyncIntervalBytes int64  `koanf:"wal.sync.interval.bytes" kind:"int" min:"1" doc:"With wal.sync interval: after how many bytes they are, if that is sooner."`
	WALDir               string `koanf:"wal.dir" kind:"path" doc:"Where the commit log is: a disk of its own makes slow disks faster; empty: wal in node/data_dir."`
	WALSegmentBytes      int64  `koanf:"wal.segment.bytes" kind:"int" min:"1048576" max:"2147483648" doc:"Size of the largest files of the commit log."`
	WALSizeBytes         int64  `koanf:"wal.size.bytes" kind:"int" min:"2097152" doc:"What the commit log grows to under load; it bounds what a start after a crash replays. At least two files."`

	OffsetsTopicNumPartitions     int32 `koanf:"offsets.topic.num.partitions" kind:"int" min:"1" max:"1000" doc:"Partitions of __consumer_offsets; fixed once the topic exists."`
	OffsetsTopicReplicationFactor int16 `koanf:"offsets.topic.replication.factor" kind:"int" min:"0" max:"1000" doc:"Replicas of __consumer_offsets; 0: the number of nodes, 3 at most."`
	OffsetsRetentionMinutes       int64 `koanf:"offsets.retention.minutes" kind:"int" min:"1" doc:"How long the offsets of an empty group are kept."`
	GroupInitialRebalanceDelayMs  int64 `koanf:"group.initial.rebalance.delay.ms" kind:"int" min:"0" max:"600000" doc:"How long an empty group waits for more members before its first rebalance."`
	GroupMinSessionTimeoutMs      int64 `koanf:"group.min.session.timeout.ms" kind:"int" min:"1" doc:"Shortest session timeout that a member may ask for."`
	GroupMaxSessionTimeoutMs      int64 `koanf:"group.max.session.timeout.ms" kind:"int" min:"1" doc:"Longest session timeout that a member may ask for."`
	GroupMaxSize                  int   `koanf:"group.max.size" kind:"int" min:"1" max:"1000000" doc:"Most members of a group."`

	ProduceCheckRecords bool `koanf:"produce.check.records" kind:"bool" doc:"Every record that a producer sends is read before it is stored, compressed ones too; off, a broken producer can store what consumers cannot read."`

	SocketRequestMaxBytes int   `koanf:"socket.request.max.bytes"  kind:"int" min:"1048576" max:"1073741824" doc:"The largest produce request; all others are limited to 1 MiB."`
	QueuedMaxRequestBytes int64 `koanf:"queued.max.request.bytes"  kind:"int" min:"16777216" doc:"Memory for all requests in work and for answers to fetches; when it is used up, sockets are not read."`
	MaxConnections        int   `koanf:"max.connections"           kind:"int" min:"0" doc:"Open client connections; 0: no limit."`
	MaxConnectionsPerIP   int   `koanf:"max.connections.per.ip"    kind:"int" min:"0" doc:"Open client connections of one address; 0: no limit."`
	MaxConnectionRate     int   `koanf:"max.connection.creation.rate" kind:"int" min:"0" doc:"Client connections that are accepted in a second, others wait; 0: no limit."`
	MaxConnectionRateIP   int   `koanf:"max.connection.creation.rate.per.ip" kind:"int" min:"0" doc:"Client connections that one address may make in a second, others are closed at once; 0: no limit."`
	ConnectionsMaxIdleMs  int64 `koanf:"connections.max.idle.ms"   kind:"int" min:"1000" doc:"A client connection without requests for so long is closed."`
	FetchSessionSlots     int   `koanf:"max.incremental.fetch.session.cache.slots" kind:"int" min:"0" max:"100000" doc:"Readers whose fetches are remembered, so that they send and get only what changes; 0: none."`
	FetchMaxBytes         int   `koanf:"fetch.max.bytes"           kind:"int" min:"1024" max:"1073741824" doc:"The largest answer to a fetch, whatever the client asks for."`

	BrokerSessionTimeoutMs    int64 `koanf:"broker.session.timeout.ms"    kind:"int" min:"100" doc:"A broker that is silent for so long is fenced; sooner if its port refuses connections."`
	BrokerHeartbeatIntervalMs int64 `koanf:"broker.heartbeat.interval.ms" kind:"int" min:"10" doc:"Between a broker's signs of life to the controller."`
}

// unset is the value of a retention that leaves the word to the next coarser one.
const unset = -2

// Retention is the age above which segments are deleted: the finest of the three
// settings that is set. Negative: never.
func (k Kafka) Retention() time.Duration {
	switch {
	case k.LogRetentionMs != unset:
		return age(k.LogRetentionMs, time.Millisecond)
	case k.LogRetentionMinutes != unset:
		return age(k.LogRetentionMinutes, time.Minute)
	default:
		return age(k.LogRetentionHours, time.Hour)
	}
}

func age(n int64, unit time.Duration) time.Duration {
	if n < 0 || n > int64(1<<63-1)/int64(unit) {
		return -1
	}
	return time.Duration(n) * unit
}

// TopicDefaults returns what a topic without settings of its own has, as strings by
// the brokers' names for it.
func (k Kafka) TopicDefaults() map[string]string {
	retention := int64(-1)
	if d := k.Retention(); d >= 0 {
		retention = d.Milliseconds()
	}
	integer := func(n int64) string { return strconv.FormatInt(n, 10) }
	return map[string]string{
		"min.insync.replicas":        integer(int64(k.MinInsyncReplicas)),
		"message.max.bytes":          integer(int64(k.MessageMaxBytes)),
		"log.retention.ms":           integer(retention),
		"log.retention.bytes":        integer(k.LogRetentionBytes),
		"log.segment.bytes":          integer(k.LogSegmentBytes),
		"log.roll.ms":                integer(age(k.LogRollHours, time.Hour).Milliseconds()),
		"log.index.interval.bytes":   integer(int64(k.LogIndexIntervalBytes)),
		"log.cleanup.policy":         k.LogCleanupPolicy,
		"log.message.timestamp.type": k.LogMessageTimestampType,

		"log.flush.interval.messages": integer(k.LogFlushMessages),
		"log.flush.interval.ms":       integer(k.LogFlushMs),
		"wal.sync":                    k.WALSync,
	}
}

// Millis turns one of Kafka's settings into a duration.
func Millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
