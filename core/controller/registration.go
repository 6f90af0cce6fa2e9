package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// RegistrationConfig is what a broker says of itself.
type RegistrationConfig struct {
	Config
	Rack      string
	Listeners []metadata.Endpoint // for clients
	Cluster   metadata.Endpoint   // for brokers; zero for a single node
	// Replica is this broker's replica of the metadata log, which names its disk.
	Replica uint64
	// Ready is closed once this broker can lead; until then it asks to stay fenced.
	// Nil: from the start.
	Ready <-chan struct{}
}

// Leadership tells who leads the metadata log. A consensus.Client does.
type Leadership interface {
	LeaderFor(g consensus.GroupID) (consensus.Leadership, <-chan struct{})
}

// Registration keeps this broker registered with the active controller: it
// registers, sends heartbeats, and registers again when it is told that it is not
// registered any more. A new controller hears from it at once.
//
// Run owns the exchange; the other methods may be called concurrently.
type Registration struct {
	cfg        RegistrationConfig
	client     *Client
	leadership Leadership
	images     *metadata.Loader
	log        *slog.Logger

	epoch   atomic.Int64
	fenced  atomic.Bool
	refusal refusal // of the registrations since the last one that was accepted; Run's

	leave     chan struct{} // closed by Leave
	left      chan struct{} // closed when the controller lets this broker go
	leaveOnce sync.Once
}

// NewRegistration returns the registration of the broker that client belongs to.
func NewRegistration(cfg RegistrationConfig, client *Client, leadership Leadership, images *metadata.Loader, log *slog.Logger) *Registration {
	if cfg.Incarnation == (metadata.UUID{}) {
		cfg.Incarnation = metadata.UUID(uuid.New())
	}
	r := &Registration{
		cfg: cfg, client: client, leadership: leadership, images: images,
		log:   log.With("component", "registration"),
		leave: make(chan struct{}), left: make(chan struct{}),
	}
	r.epoch.Store(-1)
	r.fenced.Store(true)
	return r
}

// Epoch returns the epoch of the registration, -1 if there is none.
func (r *Registration) Epoch() int64 { return r.epoch.Load() }

// Fenced tells whether this broker is fenced as far as it knows: before it is let
// in, and when its controller has told it so.
func (r *Registration) Fenced() bool { return r.fenced.Load() }

// Leave asks the controller to move leaderships away from this broker, and
// returns when that is done and the broker may stop without an outage, or with
// ctx's error. Run must be running, and goes on until its own context ends.
func (r *Registration) Leave(ctx context.Context) error {
	r.leaveOnce.Do(func() { close(r.leave) })
	select {
	case <-r.left:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("await the controller's leave to go: %w", ctx.Err())
	}
}

// Run registers and sends heartbeats until ctx ends, and returns nil then. An
// error means that this broker must not be part of this cluster.
func (r *Registration) Run(ctx context.Context) error {
	for ctx.Err() == nil && !r.gone() {
		_, changed := r.leadership.LeaderFor(consensus.Metadata)
		var err error
		if r.Epoch() < 0 {
			err = r.attempt(ctx, changed, r.register)
		} else {
			err = r.attempt(ctx, changed, r.beat)
		}
		switch {
		case protocol.CodeOf(err) == protocol.InconsistentClusterID, protocol.CodeOf(err) == protocol.InvalidVoterKey:
			return fmt.Errorf("register this broker: %w", err)
		case errors.Is(err, errUnregistered): // registers again at once
		default:
			r.rest(ctx, changed, err == nil)
		}
	}
	<-ctx.Done()
	return nil
}

func (r *Registration) gone() bool {
	select {
	case <-r.left:
		return true
	default:
		return false
	}
}

// ready tells whether this broker can lead.
func (r *Registration) ready() bool {
	if r.cfg.Ready == nil {
		return true
	}
	select {
	case <-r.cfg.Ready:
		return true
	default:
		return false
	}
}

func (r *Registration) leaving() bool {
	select {
	case <-r.leave:
		return true
	default:
		return false
	}
}

// rest waits for the next heartbeat. A change of controller ends it at once, and
// so do the wish to leave and the end of the start, each once.
func (r *Registration) rest(ctx context.Context, changed <-chan struct{}, well bool) {
	leave, ready := r.leave, r.cfg.Ready
	if r.leaving() || !well {
		leave = nil
	}
	if r.ready() {
		ready = nil
	}
	t := time.NewTimer(r.cfg.HeartbeatInterval)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-leave:
	case <-ready:
	case <-ctx.Done():
	}
}

// attempt bounds an exchange: it is given up when the controller changes, because
// the former one may hang, and when a session would have ended.
func (r *Registration) attempt(ctx context.Context, changed <-chan struct{}, exchange func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.SessionTimeout)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel()
	watcher.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	err := exchange(ctx)
	if err != nil {
		r.log.Debug("no answer from the controller", "error", err)
	}
	return err
}

// refusal is why the controller does not let this broker in.
type refusal struct {
	code  protocol.ErrorCode
	since time.Time
	told  bool
}

// tellRefusal logs a refusal once, not with every attempt. A broker that starts soon
// after its end is refused until the session of its last life is over, which is as it
// should be; longer than that, another process is this broker.
func (r *Registration) tellRefusal(code protocol.ErrorCode, reason string) {
	if r.refusal.code != code {
		r.refusal = refusal{code: code, since: time.Now()}
		if code == protocol.DuplicateBrokerRegistration {
			r.log.Info("waiting for the end of this broker's session before its start", "at_most", 2*r.cfg.SessionTimeout)
		}
	}
	early := code == protocol.DuplicateBrokerRegistration && time.Since(r.refusal.since) <= 2*r.cfg.SessionTimeout
	if r.refusal.told || early {
		return
	}
	r.refusal.told = true
	r.log.Warn("registration refused", "code", code.String(), "broker", r.cfg.BrokerID, "cluster_id", r.cfg.ClusterID, "reason", reason)
}

// register asks for an epoch.
func (r *Registration) register(ctx context.Context) error {
	if r.leaving() {
		r.leftNow()
		return nil
	}
	resp, err := r.client.Do(ctx, r.registrationRequest())
	if err != nil {
		return err
	}
	answer, ok := resp.(*kmsg.BrokerRegistrationResponse)
	if !ok {
		return fmt.Errorf("registration was answered with %T", resp)
	}
	code := protocol.ErrorCode(answer.ErrorCode)
	if code != protocol.None {
		reason := reasonOf(&answer.UnknownTags)
		r.tellRefusal(code, reason)
		if reason == "" {
			reason = fmt.Sprintf("the controller refused broker %d of cluster %q", r.cfg.BrokerID, r.cfg.ClusterID)
		}
		return protocol.Errorf(code, "%s", reason)
	}
	r.refusal = refusal{}
	r.epoch.Store(answer.BrokerEpoch)
	r.log.Info("registered", "epoch", answer.BrokerEpoch)
	return r.beat(ctx)
}

func (r *Registration) registrationRequest() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = r.cfg.BrokerID, r.cfg.ClusterID, r.cfg.Incarnation
	if r.cfg.Replica != 0 {
		req.LogDirs = [][16]byte{protocol.DirectoryID(r.cfg.Replica)}
	}
	if r.cfg.Rack != "" {
		req.Rack = &r.cfg.Rack
	}
	endpoints := r.cfg.Listeners
	if r.cfg.Cluster.Host != "" {
		endpoints = append(slices.Clip(endpoints), r.cfg.Cluster)
		endpoints[len(endpoints)-1].Name = ClusterListener
	}
	for _, e := range endpoints {
		l := kmsg.NewBrokerRegistrationRequestListener()
		l.Name, l.Host, l.Port, l.SecurityProtocol = e.Name, e.Host, uint16(e.Port), securityNumber(e.Security)
		req.Listeners = append(req.Listeners, l)
	}
	return req
}

// errUnregistered means that the controller knows nothing of this registration.
var errUnregistered = errors.New("no longer registered")

// beat sends a heartbeat and takes in what the controller says.
func (r *Registration) beat(ctx context.Context) error {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch = r.cfg.BrokerID, r.Epoch()
	req.CurrentMetadataOffset = int64(r.images.Current().Index)
	req.WantShutdown = r.leaving()
	req.WantFence = !r.ready() && !req.WantShutdown
	resp, err := r.client.Do(ctx, req)
	if err != nil {
		return err
	}
	answer, ok := resp.(*kmsg.BrokerHeartbeatResponse)
	if !ok {
		return fmt.Errorf("a heartbeat was answered with %T", resp)
	}
	switch code := protocol.ErrorCode(answer.ErrorCode); code {
	case protocol.None:
		r.takeIn(answer)
		return nil
	case protocol.StaleBrokerEpoch, protocol.BrokerIDNotRegistered:
		r.log.Warn("no longer registered", "epoch", req.BrokerEpoch, "code", code.String())
		r.epoch.Store(-1)
		r.fenced.Store(true)
		return errUnregistered
	default:
		return protocol.Errorf(code, "the controller refused a heartbeat")
	}
}

func (r *Registration) takeIn(answer *kmsg.BrokerHeartbeatResponse) {
	if r.fenced.Swap(answer.IsFenced) != answer.IsFenced {
		r.log.Info("fencing changed", "fenced", answer.IsFenced)
	}
	if answer.ShouldShutdown {
		r.leftNow()
	}
}

// leftNow ends the exchange. Only Run's goroutine calls it, once.
func (r *Registration) leftNow() { close(r.left) }
