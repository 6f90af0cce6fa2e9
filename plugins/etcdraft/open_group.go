package etcdraft

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// OpenGroup implements consensus.Backend.
func (b *Backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.started || b.stopped:
		return nil, consensus.ErrShuttingDown
	case spec.ID == 0:
		return nil, fmt.Errorf("%w: group id 0", consensus.ErrInvalidArgument)
	case b.groups[uint64(spec.ID)] != nil:
		return nil, consensus.ErrGroupExists
	case len(b.groups) >= maxGroups:
		return nil, consensus.ErrGroupLimit
	}
	c, err := b.prepare(spec)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	g, err := newGroup(b, spec, c)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	b.groups[g.id] = g
	b.publish()
	b.transport.setGroup(g.id, c, g.hints)
	g.workers.Go(g.run)
	return g, nil
}

// prepare returns the configuration that the group starts with: that of its
// newest snapshot, or of its first members. A new group's is written to the log
// before anything else.
func (b *Backend) prepare(spec consensus.GroupSpec) (config, error) {
	info, exists := b.store.Info(uint64(spec.ID))
	if exists {
		meta, err := parseSnapshotMeta(info.Mark.Data)
		return meta.Config, err
	}
	var c config
	switch spec.Mode {
	case consensus.OpenBootstrap:
		var err error
		if c, err = bootstrapConfig(b.cfg.ReplicaID, spec.Members); err != nil {
			return config{}, err
		}
	case consensus.OpenJoin:
	case consensus.OpenRecover:
		return config{}, fmt.Errorf("%w: there is no data to recover the group from", consensus.ErrDataIncompatible)
	default:
		return config{}, fmt.Errorf("%w: open mode %d", consensus.ErrInvalidArgument, spec.Mode)
	}
	data, err := snapshotMeta{Config: c}.encode()
	if err != nil {
		return config{}, err
	}
	return c, b.store.Append(true, seglog.Write{Group: uint64(spec.ID), Mark: &seglog.Mark{Data: data}})
}
