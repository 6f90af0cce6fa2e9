package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/core"
)

// snapshotBytes of entries are enough for a snapshot, however few they are.
const snapshotBytes = 16 << 20

// hostSpec turns the config into what the backend's host needs. The replica is that
// of the node's data directory; a node that has none yet gets its own id. The
// backend's data directory is not made. Errors have their exit code.
func hostSpec(cfg configs.Config) (host.Spec, error) {
	dir, err := filepath.Abs(cfg.Node.DataDir)
	if err != nil {
		return host.Spec{}, err
	}
	c := cfg.Consensus
	options, err := json.Marshal(c.Options)
	if err != nil {
		return host.Spec{}, &exitError{exitUsage, fmt.Errorf("consensus/options: %w", err)}
	}
	if len(c.Options) == 0 {
		options = nil
	}
	incarnation, err := core.IncarnationOf(cfg.Node.DataDir, c.Incarnation)
	if err != nil {
		return host.Spec{}, &exitError{consensus.ExitConfig, err}
	}
	replica, err := core.ReplicaOf(cfg.Node.DataDir, identity(cfg))
	if err != nil {
		return host.Spec{}, &exitError{consensus.ExitConfig, err}
	}
	peerTLS, err := readPeerTLS(c.Peer.TLS)
	if err != nil {
		return host.Spec{}, &exitError{exitUsage, fmt.Errorf("consensus/peer/tls: %w", err)}
	}
	return host.Spec{
		Name:   c.Backend,
		Path:   c.External.Path,
		SHA256: c.External.SHA256,
		Args:   c.External.Args,
		Env:    c.External.Env,
		RunDir: filepath.Join(dir, "run"),
		Start: consensus.StartConfig{
			ClusterID: consensus.ClusterIncarnation(cfg.Cluster.ID, incarnation),
			ReplicaID: cmp.Or(replica.ID, uint64(cfg.Node.ID)),
			BrokerID:  cfg.Node.ID,
			DataDir:   filepath.Join(dir, "consensus", c.Backend),
			Peer:      consensus.PeerEndpoint{Listen: c.Peer.Listen, Advertise: c.Peer.Advertise, TLS: peerTLS},
			Options:   options,
			Timing:    consensus.Timing{Heartbeat: c.Timing.Heartbeat, ElectionTimeout: c.Timing.ElectionTimeout, LeaderLease: c.Timing.LeaderLease},
			SessionID: uuid.NewString(),
		},
		Groups:      []consensus.GroupSpec{metadataGroup(cfg)},
		Supervision: supervision(c.Supervision),
	}, nil
}

func metadataGroup(cfg configs.Config) consensus.GroupSpec {
	spec := consensus.GroupSpec{
		ID:   consensus.Metadata,
		Name: "metadata",
		Mode: consensus.OpenBootstrap,
		Tuning: consensus.GroupTuning{
			RetainEntries:          uint64(cfg.Consensus.Log.RetainEntries),
			SnapshotRequestEntries: uint64(cfg.Consensus.Log.SnapshotEntries),
			SnapshotRequestBytes:   snapshotBytes,
		},
	}
	for _, id := range slices.Sorted(maps.Keys(cfg.Consensus.Peers)) {
		spec.Members = append(spec.Members, consensus.Member{
			ReplicaID: uint64(id), BrokerID: id, Address: cfg.Consensus.Peers[id], Role: consensus.Voter,
		})
	}
	return spec
}

func supervision(c configs.Supervision) host.Supervision {
	s := host.DefaultSupervision()
	s.StartTimeout, s.HealthInterval, s.HangAfter = c.StartTimeout, c.HealthInterval, c.HangAfter
	s.StopGrace, s.BackoffMin, s.BackoffMax, s.CrashLimit = c.StopGrace, c.BackoffMin, c.BackoffMax, c.CrashLimit
	return s
}
