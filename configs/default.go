package configs

import (
	"math"
	"time"
)

// Default returns what holds for every key that is set nowhere.
func Default() Config {
	return Config{
		Node:      Node{ID: 1, DataDir: "data"},
		Listeners: []Listener{{Name: "clients", Bind: "127.0.0.1:9092", TLS: ListenerTLS{ClientAuth: "none"}}},
		Cluster:   Cluster{ID: "quorate"},
		Consensus: Consensus{
			Backend: "etcd-raft",
			Timing:  Timing{Heartbeat: 50 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond},
			Log:     ConsensusLog{SnapshotEntries: 10_000, RetainEntries: 2_000},
			Supervision: Supervision{
				StartTimeout:   10 * time.Second,
				HealthInterval: 500 * time.Millisecond,
				HangAfter:      3 * time.Second,
				StopGrace:      5 * time.Second,
				BackoffMin:     100 * time.Millisecond,
				BackoffMax:     30 * time.Second,
				CrashLimit:     5,
			},
		},
		Admin: Admin{Bind: "127.0.0.1:9644", TLS: ListenerTLS{ClientAuth: "none"}},
		Kafka: defaultKafka(),
		Log:   Log{Level: "info", Format: "auto"},
	}
}

func defaultKafka() Kafka {
	return Kafka{
		NumPartitions:           1,
		AutoCreateTopicsEnable:  true,
		LogRetentionHours:       168,
		LogRetentionMinutes:     unset,
		LogRetentionMs:          unset,
		LogRetentionBytes:       -1,
		LogRetentionCheckMs:     300_000,
		ProducerIDExpirationMs:  86_400_000,
		LogSegmentBytes:         1 << 30,
		LogRollHours:            168,
		LogIndexIntervalBytes:   4096,
		LogCleanupPolicy:        "delete",
		LogCleanerThreads:       1,
		LogCleanerBuffer:        128 << 20,
		LogCleanerBackoffMs:     15_000,
		LogFlushMessages:        math.MaxInt64,
		LogFlushMs:              math.MaxInt64,
		LogMessageTimestampType: "CreateTime",
		MessageMaxBytes:         1_048_588,
		ReplicaLagTimeMaxMs:     10_000,
		ReplicaFetchWaitMaxMs:   500,

		WALSync:              "always",
		WALSyncIntervalMs:    100,
		WALSyncIntervalBytes: 16 << 20,
		WALSegmentBytes:      256 << 20,
		WALSizeBytes:         1 << 30,

		OffsetsTopicNumPartitions:    50,
		OffsetsRetentionMinutes:      7 * 24 * 60,
		GroupInitialRebalanceDelayMs: 3000,
		GroupMinSessionTimeoutMs:     6000,
		GroupMaxSessionTimeoutMs:     1_800_000,
		GroupMaxSize:                 10_000,

		ProduceCheckRecords:   true,
		SocketRequestMaxBytes: 100 << 20,
		QueuedMaxRequestBytes: 64 << 20,
		MaxConnections:        10_000,
		ConnectionsMaxIdleMs:  600_000,
		FetchSessionSlots:     1000,
		FetchMaxBytes:         55 << 20,

		BrokerSessionTimeoutMs:    1500,
		BrokerHeartbeatIntervalMs: 150,
	}
}

// Dev returns what `quorate serve --dev` runs: a single node for one developer, on
// loopback, with its data under ./data.
func Dev() Config {
	c := devDefault()
	c.resolve()
	return c
}

// devDefault is Default for a node of one developer: groups do not wait for members
// that are about to come.
func devDefault() Config {
	c := Default()
	c.Kafka.GroupInitialRebalanceDelayMs = 0
	return c
}
