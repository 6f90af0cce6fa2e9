package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/core"
)

// launch starts the backend with the replica of the data directory. A directory
// without one gets it first: the node's own, in a cluster that begins, or a new one
// that the cluster gives to a node that joins it.
func launch(ctx context.Context, cfg configs.Config, c *core.Config, dir *core.DataDir, log *slog.Logger) (*host.Host, error) {
	replica, members, err := replicaOf(ctx, cfg, c, dir, log)
	if err != nil {
		return nil, err
	}
	spec, err := hostSpec(cfg)
	if err != nil {
		return nil, err
	}
	spec.Groups[0].Mode = replica.OpenMode()
	if len(members) > 0 {
		spec.Groups[0].Members = members
	}
	if err := os.MkdirAll(spec.Start.DataDir, 0o700); err != nil {
		return nil, &exitError{consensus.ExitConfig, fmt.Errorf("data directory %s: %w", cfg.Node.DataDir, err)}
	}
	backend, err := host.Launch(ctx, spec, log)
	if err != nil {
		return nil, err
	}
	warnUncertified(cfg.Consensus, backend.Describe().Backend, log)
	// From here on the log must be there whenever the node starts.
	replica = replica.Opened()
	if err := dir.SetReplica(identity(cfg), replica); err != nil {
		ended, stop := context.WithCancel(ctx)
		stop()
		return nil, errors.Join(&exitError{consensus.ExitConfig, err}, backend.Run(ended))
	}
	c.ReplicaID = replica.ID
	if replica.State == core.ReplicaLearner {
		c.Learner = &core.LearnerConfig{
			Address: spec.Start.Peer.Advertise,
			Settled: func() error {
				replica.State = core.ReplicaSettled
				return dir.SetReplica(identity(cfg), replica)
			},
		}
	}
	return backend, nil
}

// replicaOf returns the data directory's replica, and decides which it is if there is
// none. members is the metadata log's, if the cluster was asked for them.
func replicaOf(ctx context.Context, cfg configs.Config, c *core.Config, dir *core.DataDir, log *slog.Logger) (r core.Replica, members []consensus.Member, err error) {
	r, err = core.ReplicaOf(dir.Path, identity(cfg))
	if err != nil || r.ID != 0 {
		return r, nil, configError(err)
	}
	newcomer := core.Newcomer{
		BrokerID: cfg.Node.ID, ClusterID: cfg.Cluster.ID, Peers: cfg.Cluster.Peers,
		ReplicaAddress: cfg.Consensus.Peer.Advertise, TLS: c.ClusterClientTLS,
	}
	switch {
	case cfg.Cluster.Join:
		admission, err := core.Join(ctx, newcomer, log)
		if err != nil {
			return r, nil, configError(err)
		}
		r, members = core.Replica{ID: admission.Replica, Origin: core.Joined, State: core.ReplicaAdded}, admission.Members
		log.Info("the cluster expects this node", "component", "join", "replica", r.ID, "members", len(members))
	default:
		if err := core.CheckFirstStart(ctx, newcomer, log); err != nil {
			return r, nil, configError(err)
		}
		r = core.Replica{ID: uint64(cfg.Node.ID), Origin: core.Bootstrapped, State: core.ReplicaNew}
	}
	return r, members, configError(dir.SetReplica(identity(cfg), r))
}

func configError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{consensus.ExitConfig, err}
}
