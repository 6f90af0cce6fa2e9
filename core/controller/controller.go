package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// Prober finds out whether a broker's process is there. *interbroker.Pool is one.
type Prober interface {
	Probe(ctx context.Context, broker int32) interbroker.ProbeResult
}

// Controller decides while this broker's replica leads the metadata log.
type Controller struct {
	cfg    Config
	client consensus.Client
	images *metadata.Loader
	prober Prober
	log    *slog.Logger
	active atomic.Pointer[term] // nil while another broker decides
}

// New returns a controller. probe may be nil: then brokers are fenced when their
// session ends, and not before.
func New(cfg Config, client consensus.Client, images *metadata.Loader, probe Prober, log *slog.Logger) *Controller {
	return &Controller{cfg: cfg, client: client, images: images, prober: probe, log: log.With("component", "controller")}
}

// Run decides whenever this replica leads, one term after the other, until ctx
// ends; it returns nil then. An error means that the metadata log belongs to
// another cluster.
func (c *Controller) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, changed := c.client.LeaderFor(consensus.Metadata)
		if lead.Role != consensus.LeaderReady {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := c.lead(ctx, lead); err != nil {
			return err
		}
		// Usually leadership has changed by now. If it has not, the backend said
		// no to a proposal of its own leader: it is asked again, but not in a loop.
		wait(ctx, changed, c.cfg.HeartbeatInterval)
	}
	return nil
}

// lead decides for one term, once this replica has applied everything that was
// committed before it.
func (c *Controller) lead(ctx context.Context, lead consensus.Leadership) error {
	if !c.catchUp(ctx, lead) {
		return nil
	}
	img := c.images.Current()
	if img.Gate.Term != lead.Term {
		return nil // another term has begun already
	}
	if img.ClusterID != "" && img.ClusterID != c.cfg.ClusterID {
		return fmt.Errorf("the metadata log belongs to cluster %q, this broker to %q", img.ClusterID, c.cfg.ClusterID)
	}
	c.log.Info("controller active", "term", lead.Term, "index", img.Index)
	t := newTerm(c, lead, img)
	t.run(ctx)
	c.log.Info("controller resigned", "term", lead.Term)
	return nil
}

// catchUp waits for the entry that made this replica ready. It returns false if
// the leadership ends first.
func (c *Controller) catchUp(ctx context.Context, lead consensus.Leadership) bool {
	for {
		newer := c.images.Changed()
		now, changed := c.client.LeaderFor(consensus.Metadata)
		if now.Role != consensus.LeaderReady || now.Term != lead.Term {
			return false
		}
		if c.images.Current().Index >= lead.ReadyIndex {
			return true
		}
		select {
		case <-newer:
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Handle decides one request: CreateTopics, DeleteTopics, CreatePartitions,
// IncrementalAlterConfigs, AlterConfigs, AlterPartitionReassignments,
// UnregisterBroker, BrokerRegistration, BrokerHeartbeat, AlterPartition,
// AllocateProducerIDs, or the replica's id of AddRaftVoter.
//
// It returns once the decision is committed and visible in this broker's image;
// index is the metadata index that the answer stands on, 0 if on none. The error
// is NOT_CONTROLLER if the request was certainly not decided, and ctx's if it
// may still be.
func (c *Controller) Handle(ctx context.Context, req kmsg.Request) (resp kmsg.Response, index uint64, err error) {
	t := c.active.Load()
	if t == nil {
		return nil, 0, errNotController()
	}
	if beat, ok := req.(*kmsg.BrokerHeartbeatRequest); ok {
		if resp := t.noteHeartbeat(beat, time.Now()); resp != nil {
			return resp, 0, nil
		}
	}
	return t.submit(ctx, req)
}

func errNotController() error {
	return protocol.Errorf(protocol.NotController, "this broker is not the active controller")
}

// wait returns when changed is closed, d is over or ctx ends.
func wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
}
