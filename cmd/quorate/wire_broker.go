package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus/peertls"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
)

// brokerConfig turns the config into that of each room of the broker.
func brokerConfig(cfg configs.Config) (core.Config, error) {
	c := core.DefaultConfig()
	c.BrokerID, c.ClusterID = cfg.Node.ID, cfg.Cluster.ID
	c.Rack, c.DataDir = cfg.Node.Rack, cfg.Node.DataDir
	c.Admin.Bind = cfg.Admin.Bind
	for _, l := range cfg.Listeners {
		listener, err := clientListener(l)
		if err != nil {
			return c, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		c.Listeners = append(c.Listeners, listener)
	}
	if !cfg.Single() {
		if err := joinCluster(&c, cfg.Cluster); err != nil {
			return c, fmt.Errorf("cluster/tls: %w", err)
		}
	}
	applyKafka(&c, cfg.Kafka)
	return c, c.Validate()
}

func clientListener(l configs.Listener) (core.Listener, error) {
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
		out.TLS, err = listenerTLS(l.TLS)
	}
	return out, err
}

func listenerTLS(c configs.ListenerTLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	switch c.ClientAuth {
	case "request":
		out.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if c.CA == "" {
		return out, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.CA)
	}
	return out, nil
}

func joinCluster(c *core.Config, cluster configs.Cluster) error {
	c.ClusterBind, c.ClusterAdvertise, c.Peers = cluster.Bind, cluster.Advertise, cluster.Peers
	identity, err := readPeerTLS(cluster.TLS)
	if err != nil || identity == nil {
		return err
	}
	if c.ClusterServerTLS, err = peertls.Server(identity); err != nil {
		return err
	}
	if c.ClusterClientTLS, err = peertls.Client(identity, cluster.Advertise); err != nil {
		return err
	}
	// The pool dials many brokers: it fills in the name of each, unless one is set
	// that all of them share.
	c.ClusterClientTLS.ServerName = identity.ServerName
	return nil
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
	c.Replica.RetentionInterval = configs.Millis(k.LogRetentionCheckMs)

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

	c.Server.MaxRequestBytes = k.SocketRequestMaxBytes
	c.Server.RequestMemory = k.QueuedMaxRequestBytes
	c.Server.MaxConnections, c.Server.MaxConnectionsPerIP = k.MaxConnections, k.MaxConnectionsPerIP
	c.Server.IdleTimeout = configs.Millis(k.ConnectionsMaxIdleMs)
}
