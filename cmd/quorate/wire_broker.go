package main

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/quorate/quorate/cmd/quorate/certificates"
	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
)

// brokerConfig turns the config into that of each room of the broker. The files of
// its certificates are added to certs.
func brokerConfig(cfg configs.Config, certs *certificates.Watcher) (core.Config, error) {
	c := core.DefaultConfig()
	c.BrokerID, c.ClusterID = cfg.Node.ID, cfg.Cluster.ID
	c.Rack, c.DataDir = cfg.Node.Rack, cfg.Node.DataDir
	c.Admin.Bind = cfg.Admin.Bind
	if cfg.Admin.TLS.Enabled() {
		var err error
		if c.Admin.TLS, err = listenerTLS("admin/tls", cfg.Admin.TLS, certs); err != nil {
			return c, fmt.Errorf("admin/tls: %w", err)
		}
	}
	for _, l := range cfg.Listeners {
		listener, err := clientListener(l, certs)
		if err != nil {
			return c, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		c.Listeners = append(c.Listeners, listener)
	}
	if !cfg.Single() {
		if err := joinCluster(&c, cfg.Cluster, certs); err != nil {
			return c, fmt.Errorf("cluster/tls: %w", err)
		}
	}
	applyKafka(&c, cfg.Kafka)
	return c, c.Validate()
}

func clientListener(l configs.Listener, certs *certificates.Watcher) (core.Listener, error) {
	out := core.Listener{Name: l.Name, Bind: l.Bind}
	host, port, err := net.SplitHostPort(l.Advertise)
	if err != nil {
		return out, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return out, fmt.Errorf("port of %s: %w", l.Advertise, err)
	}
	out.Host, out.Port = host, int32(number)
	if l.TLS.Enabled() {
		out.TLS, err = listenerTLS("listener "+l.Name, l.TLS, certs)
	}
	return out, err
}

func joinCluster(c *core.Config, cluster configs.Cluster, certs *certificates.Watcher) error {
	c.ClusterBind, c.ClusterAdvertise, c.Peers = cluster.Bind, cluster.Advertise, cluster.Peers
	return clusterTLS(c, cluster, certs)
}

// applyKafka carries Kafka's settings into the rooms that they belong to.
func applyKafka(c *core.Config, k configs.Kafka) {
	defaults := k.TopicDefaults()
	c.Controller.NumPartitions = k.NumPartitions
	c.Controller.DefaultReplicationFactor = k.DefaultReplicationFactor
	c.Controller.Defaults = metadata.BrokerDefaults(defaults)
	c.Controller.SessionTimeout = configs.Millis(k.BrokerSessionTimeoutMs)
	c.Controller.HeartbeatInterval = configs.Millis(k.BrokerHeartbeatIntervalMs)
	c.Controller.ProbeAfter = max(c.Controller.ProbeAfter, c.Controller.HeartbeatInterval)

	c.Replica.ReplicaLagTimeMax = configs.Millis(k.ReplicaLagTimeMaxMs)
	c.Replica.FetchMaxWait = configs.Millis(k.ReplicaFetchWaitMaxMs)
	c.Replica.SkipRecordCheck = !k.ProduceCheckRecords
	c.Replica.TopicDefaults = metadata.BrokerDefaults(defaults)
	c.Replica.Commit.Dir = k.WALDir
	c.Replica.MaxOpenFiles = k.LogMaxOpenFiles
	c.Replica.CleanerThreads = k.LogCleanerThreads
	c.Replica.CleanerBufferBytes = int(k.LogCleanerBuffer)
	c.Replica.CleanerBytesPerSecond = k.LogCleanerIOMax
	c.Replica.CleanerBackoff = configs.Millis(k.LogCleanerBackoffMs)
	c.Replica.Commit.SegmentBytes, c.Replica.Commit.SizeBytes = k.WALSegmentBytes, k.WALSizeBytes
	c.Replica.Commit.SyncInterval, c.Replica.Commit.SyncIntervalBytes = configs.Millis(k.WALSyncIntervalMs), k.WALSyncIntervalBytes
	c.Replica.RetentionInterval = configs.Millis(k.LogRetentionCheckMs)
	c.Replica.Log.ProducerExpiry = configs.Millis(k.ProducerIDExpirationMs)

	c.Group.InitialRebalanceDelay = configs.Millis(k.GroupInitialRebalanceDelayMs)
	c.Group.MinSessionTimeout = configs.Millis(k.GroupMinSessionTimeoutMs)
	c.Group.MaxSessionTimeout = configs.Millis(k.GroupMaxSessionTimeoutMs)
	c.Group.MaxGroupSize = k.GroupMaxSize
	c.Group.OffsetsRetention = time.Duration(k.OffsetsRetentionMinutes) * time.Minute

	c.API.Defaults = defaults
	c.API.AutoCreateTopics = k.AutoCreateTopicsEnable
	c.API.OffsetsPartitions = k.OffsetsTopicNumPartitions
	c.API.OffsetsReplicationFactor = k.OffsetsTopicReplicationFactor
	c.API.MaxFetchBytes = k.FetchMaxBytes
	c.API.FetchSessionSlots = k.FetchSessionSlots

	c.Server.MaxRequestBytes = k.SocketRequestMaxBytes
	c.Server.RequestMemory = k.QueuedMaxRequestBytes
	c.Server.MaxConnectionRate, c.Server.MaxConnectionRatePerIP = k.MaxConnectionRate, k.MaxConnectionRateIP
	c.Server.MaxConnections, c.Server.MaxConnectionsPerIP = k.MaxConnections, k.MaxConnectionsPerIP
	c.Server.IdleTimeout = configs.Millis(k.ConnectionsMaxIdleMs)
}
