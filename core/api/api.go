package api

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/group"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// Config is what the APIs need to know of their broker.
type Config struct {
	BrokerID int32
	// Defaults are the broker's values of Kafka's settings, by Kafka's names.
	// DescribeConfigs shows them, topics without a value of their own take them.
	Defaults map[string]string
	// AutoCreateTopics lets Metadata create topics that do not exist
	// (auto.create.topics.enable).
	AutoCreateTopics bool
	// OffsetsPartitions and OffsetsReplicationFactor are those of
	// __consumer_offsets when it is created.
	OffsetsPartitions        int32
	OffsetsReplicationFactor int16
	// MaxFetchBytes bounds one fetch response, whatever the client asks for
	// (fetch.max.bytes). Default 55 MiB, as in Kafka.
	MaxFetchBytes int
	// FetchSessionSlots is how many readers' fetches are remembered, so that they need
	// not be sent whole; 0 for none. Default 1000. Kafka:
	// max.incremental.fetch.session.cache.slots.
	FetchSessionSlots int
	// RequestTimeout bounds what a request without a timeout of its own may wait.
	RequestTimeout time.Duration
}

// DefaultConfig returns Kafka's defaults. BrokerID and Defaults have none.
func DefaultConfig() Config {
	return Config{
		AutoCreateTopics:         true,
		OffsetsPartitions:        50,
		OffsetsReplicationFactor: 3,
		MaxFetchBytes:            55 << 20,
		FetchSessionSlots:        1000,
		RequestTimeout:           30 * time.Second,
	}
}

// Images is where the metadata comes from.
type Images interface {
	Current() *metadata.Image
}

// Controller takes what only the active controller decides, here or elsewhere.
type Controller interface {
	// Do returns once the decision is committed and visible in this broker's image.
	Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	// HandleForwarded answers what another broker forwards to this one (KIP-590).
	HandleForwarded(ctx context.Context, req *kmsg.EnvelopeRequest) *kmsg.EnvelopeResponse
	// HandleDirect answers the requests that brokers send to the controller as they are.
	HandleDirect(ctx context.Context, req kmsg.Request) kmsg.Response
	// Leader returns the active controller's broker id.
	Leader() (id int32, ok bool)
}

// API answers every request of the table. It is safe for concurrent use.
type API struct {
	cfg        Config
	images     Images
	replicas   *replica.Manager
	controller Controller
	groups     *group.Coordinator
	quorum     Quorum
	log        *slog.Logger

	byKey map[int16]*entry
	ids   *producerIDs

	sessions *fetchSessions
	// creating holds the topics whose automatic creation is under way, so that a
	// herd of Metadata requests makes one proposal.
	creating sync.Map
}

// New joins the APIs to the rooms below them.
func New(cfg Config, images Images, replicas *replica.Manager, c Controller, groups *group.Coordinator, quorum Quorum, log *slog.Logger) *API {
	a := &API{
		cfg:        cfg,
		images:     images,
		replicas:   replicas,
		controller: c,
		groups:     groups,
		quorum:     quorum,
		log:        log.With("component", "api"),
		byKey:      make(map[int16]*entry, len(table)),
		sessions:   newFetchSessions(cfg.FetchSessionSlots),
	}
	for i := range table {
		a.byKey[table[i].key.Int16()] = &table[i]
	}
	a.ids = newProducerIDs(a.allocateProducerIDs)
	return a
}

// Kind is the kind of listener a request came in by.
type Kind int

// Clients reach Client listeners; only brokers reach the Cluster listener.
const (
	Client Kind = iota
	Cluster
)

// Session is the connection a request came in by.
type Session struct {
	Kind     Kind
	Listener string
	Host     string // of the client
}

// Request is one request, decoded.
type Request struct {
	Key, Version int16
	ClientID     string
	Body         kmsg.Request // nil if one of the next two is set
	// Produce is read in Begin, partition by partition, and not after it.
	Produce *protocol.ProduceRequest
	Fetch   *protocol.FetchRequest
	// Unsupported marks an ApiVersions request of a version that is not known here
	// (KIP-511); Body is then of version 0.
	Unsupported bool
}

// Answer waits for a request's response. A nil response means that none is
// sent; an error that the connection cannot go on.
type Answer func(ctx context.Context) (protocol.Response, error)

// Versions returns the versions of an API that a kind of listener serves.
func (a *API) Versions(kind Kind, key int16) (minVersion, maxVersion int16, ok bool) {
	e := a.byKey[key]
	if e == nil || !e.on(kind) {
		return 0, 0, false
	}
	return e.minVersion, e.maxVersion, true
}

// Begin starts a request. Requests of one connection are begun one after the
// other, in order.
func (a *API) Begin(ctx context.Context, s *Session, r *Request) Answer {
	e := a.byKey[r.Key]
	if e == nil || !e.on(s.Kind) {
		err := fmt.Errorf("no handler for API key %d on listener %s", r.Key, s.Listener)
		return func(context.Context) (protocol.Response, error) { return nil, err }
	}
	return e.begin(ctx, a, s, r)
}
