package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/admin"
	"github.com/quorate/quorate/core/api"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/core/group"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/core/server"
)

// clusterListener is the name of the listener for brokers.
const clusterListener = "cluster"

// maxClusterRequestBytes bounds a request of another broker: a fetch names every
// partition that it follows here, at about 50 bytes each.
const maxClusterRequestBytes = 32 << 20

// Broker is one broker: New builds it, Listen binds its sockets, Run serves.
type Broker struct {
	cfg       Config
	consensus consensus.Client
	log       *slog.Logger
	registry  *prometheus.Registry

	members    *members
	images     *metadata.Loader
	pool       *interbroker.Pool
	replicas   *replica.Manager
	groups     *group.Coordinator
	controller *controller.Controller
	decisions  *controller.Client
	clients    *server.Server // what clients reach
	cluster    *server.Server // what brokers reach; nil for a single node
	admin      *admin.Server  // nil without an address

	// registration exists once the sockets are bound: it tells their addresses.
	registration atomic.Pointer[controller.Registration]
}

// New builds a broker on a consensus backend. Nothing is started or bound.
func New(cfg Config, client consensus.Client, log *slog.Logger) (*Broker, error) {
	cfg = cfg.filled()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Controller.Incarnation == (metadata.UUID{}) {
		cfg.Controller.Incarnation = metadata.UUID(uuid.New())
	}
	b := &Broker{cfg: cfg, consensus: client, log: log, registry: prometheus.NewRegistry()}
	b.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b.registry.MustRegister(consensusMetrics{client})
	b.members = newMembers(client, log)
	b.images = metadata.NewLoader(client, consensus.Metadata, metadata.DefaultLoaderConfig(), log)
	b.pool = interbroker.New(cfg.Interbroker, b.peerAddresses, log)
	b.controller = controller.New(cfg.Controller, client, b.images, b.pool, log)
	b.decisions = controller.NewClient(cfg.BrokerID, b.controller, b.pool, b.leader, b.images, log)
	b.replicas = replica.NewManager(cfg.Replica, b.images, b.pool, b.decisions, b.brokerEpoch, log, b.registry)
	b.groups = group.New(cfg.Group, b.images, b.replicas, log)
	b.images.OnImage("replica", b.replicas.OnImage)
	b.images.OnImage("group", b.groups.OnImage)
	if err := b.buildServers(); err != nil {
		return nil, err
	}
	return b, nil
}

// buildServers makes one server for clients and one for brokers: brokers are
// answered from the start, clients only once this broker is part of the cluster.
func (b *Broker) buildServers() (err error) {
	apis := handler{api.New(b.cfg.API, b.images, b.replicas, apiController{b.decisions, b.leader}, b.groups, quorum{b.consensus, b.leader, b.pool}, b.log)}
	own := b.cfg.Server
	for _, l := range b.cfg.Listeners {
		own.Listeners = append(own.Listeners, server.ListenerConfig{Name: l.Name, Kind: server.Client, Bind: l.Bind, TLS: l.TLS})
	}
	if b.clients, err = server.New(own, apis, b.log, prometheus.WrapRegistererWith(prometheus.Labels{"kind": "client"}, b.registry)); err != nil {
		return err
	}
	if b.cfg.ClusterBind != "" {
		own.MaxSmallRequestBytes = max(own.MaxSmallRequestBytes, maxClusterRequestBytes)
		own.Listeners = []server.ListenerConfig{{Name: clusterListener, Kind: server.Cluster, Bind: b.cfg.ClusterBind, TLS: b.cfg.ClusterServerTLS}}
		if b.cluster, err = server.New(own, apis, b.log, prometheus.WrapRegistererWith(prometheus.Labels{"kind": "cluster"}, b.registry)); err != nil {
			return err
		}
	}
	if b.cfg.Admin.Bind != "" {
		b.admin, err = admin.New(b.cfg.Admin, b.registry, b.checks(), b.log,
			admin.WithConsensus(b.cfg.BrokerID, b.consensus, func() uint64 { return b.images.Current().Index }, b.reserveReplica),
			admin.WithSnapshots(b.cfg.BrokerID, b.consensus, b.images))
	}
	return err
}

// Listen binds every socket, so that a port in use is known before anything
// else happens.
func (b *Broker) Listen() error {
	if b.admin != nil {
		if err := b.admin.Listen(); err != nil {
			return err
		}
	}
	if b.cluster != nil {
		if err := b.cluster.Listen(); err != nil {
			return err
		}
	}
	if err := b.clients.Listen(); err != nil {
		return err
	}
	who, err := b.identity()
	if err != nil {
		return err
	}
	b.registration.Store(controller.NewRegistration(who, b.decisions, b.consensus, b.images, b.log))
	return nil
}

// Addr returns the address that a listener for clients is bound to, or nil.
func (b *Broker) Addr(listener string) net.Addr { return b.clients.Addr(listener) }

// identity is what this broker registers as.
func (b *Broker) identity() (controller.RegistrationConfig, error) {
	who := controller.RegistrationConfig{Config: b.cfg.Controller, Rack: b.cfg.Rack, Ready: b.replicas.Ready(), Replica: b.cfg.ReplicaID}
	for _, l := range b.cfg.Listeners {
		e := metadata.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port, Security: securityOf(l.TLS != nil)}
		if e.Port == 0 {
			bound, ok := b.clients.Addr(l.Name).(*net.TCPAddr)
			if !ok {
				return who, fmt.Errorf("listener %s is not bound", l.Name)
			}
			e.Port = int32(bound.Port)
		}
		who.Listeners = append(who.Listeners, e)
	}
	if b.cluster == nil {
		return who, nil
	}
	host, port, err := net.SplitHostPort(b.cfg.ClusterAdvertise)
	if err != nil {
		return who, fmt.Errorf("own address for brokers: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return who, fmt.Errorf("own address for brokers: %w", err)
	}
	who.Cluster = metadata.Endpoint{Name: clusterListener, Host: host, Port: int32(number), Security: securityOf(b.cfg.ClusterServerTLS != nil)}
	return who, nil
}

func securityOf(tls bool) string {
	if tls {
		return "SSL"
	}
	return "PLAINTEXT"
}

// leader returns the broker whose replica leads the metadata log.
func (b *Broker) leader() (id int32, ok bool) {
	l, _ := b.consensus.LeaderFor(consensus.Metadata)
	if l.Leader == consensus.NoLeader {
		return -1, false
	}
	return b.members.broker(l.Leader)
}

// peerAddresses are where a broker may be: where the operator of this one says, and
// where it has registered itself. The first is all there is before the metadata is
// known; the second for a broker that joined later, or moved.
func (b *Broker) peerAddresses(id int32) []string {
	var addresses []string
	if a := b.cfg.Peers[id]; a != "" {
		addresses = append(addresses, a)
	}
	if peer, ok := b.images.Current().Broker(id); ok && peer.Cluster.Host != "" {
		a := net.JoinHostPort(peer.Cluster.Host, strconv.Itoa(int(peer.Cluster.Port)))
		if !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// brokerEpoch is the epoch of this broker's registration, or -1.
func (b *Broker) brokerEpoch() int64 {
	if r := b.registration.Load(); r != nil {
		return r.Epoch()
	}
	return -1
}

// checks are what /readyz asks.
func (b *Broker) checks() []admin.Check {
	return []admin.Check{{Name: "registered", Func: b.registered}, {Name: "metadata", Func: b.led}, {Name: "consensus", Func: b.stable}}
}

// registered tells whether the controller has let this broker in.
func (b *Broker) registered(context.Context) error {
	if r := b.registration.Load(); r == nil || r.Fenced() {
		return fmt.Errorf("the controller has not let this broker in (consensus backend: %s)", b.consensus.Health().State)
	}
	return nil
}

// led tells whether this node knows who decides.
func (b *Broker) led(context.Context) error {
	if _, ok := b.leader(); !ok {
		return errors.New("the metadata log has no leader that this node knows of")
	}
	return nil
}

// stable tells whether the consensus plugin stays up.
func (b *Broker) stable(context.Context) error {
	if h := b.consensus.Health(); h.CrashLoop {
		return fmt.Errorf("the consensus plugin crashes again and again; the last time: %s", h.LastExit)
	}
	return nil
}

// apiController is the controller as the APIs see it.
type apiController struct {
	*controller.Client
	leader func() (int32, bool)
}

// Leader implements api.Controller.
func (c apiController) Leader() (int32, bool) { return c.leader() }
