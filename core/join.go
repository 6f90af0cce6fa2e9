package core

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/protocol"
)

const (
	// joinPause is the time between two attempts to be added.
	joinPause = 250 * time.Millisecond
	// joinRemind is how often it is said what is waited for.
	joinRemind = 10 * time.Second
	// joinRequest bounds one request to a node of the cluster.
	joinRequest = 10 * time.Second
	// joinReplaced is how long a node whose id is taken by another that is alive
	// waits for the other's end, which may not have been noticed yet.
	joinReplaced = 15 * time.Second
	// firstLook bounds the question to the others at a first start.
	firstLook = 2 * time.Second

	// controllerEndpoints is DescribeCluster's endpoint type.
	controllerEndpoints = 2
)

// Newcomer is a node without a replica of the metadata log.
type Newcomer struct {
	BrokerID  int32
	ClusterID string
	// Peers are cluster listeners of nodes of the cluster, by node. The node's own is
	// not asked.
	Peers map[int32]string
	// ReplicaAddress is where its replica will be dialled by the others, host:port.
	ReplicaAddress string
	TLS            *tls.Config // towards the cluster listeners; nil: plaintext
}

// Admission is a replica that the cluster expects.
type Admission struct {
	Replica uint64
	Members []consensus.Member // of the metadata log, as the leader told
}

// errRefused marks an error that asking again will not mend.
var errRefused = errors.New("refused")

// Join asks the cluster to add a replica of this node as a learner, under an id that
// the cluster has never used, and returns when it has. It looks for the leader among
// the peers, and the nodes that they tell of, until ctx ends. Any other error is a
// sentence for the operator.
//
// Once the replica is started, the broker itself asks for its promotion; see learner.
func Join(ctx context.Context, n Newcomer, log *slog.Logger) (Admission, error) {
	j := newJoiner(n, log)
	defer j.pool.Close()
	begun := time.Now()
	var said time.Time
	for {
		err := j.attempt(ctx)
		if err == nil {
			return j.admission, nil
		}
		taken := protocol.CodeOf(err) == protocol.DuplicateBrokerRegistration && time.Since(begun) > joinReplaced
		if errors.Is(err, errRefused) || taken {
			return Admission{}, fmt.Errorf("join cluster %q: %w", n.ClusterID, err)
		}
		if time.Since(said) > joinRemind {
			said = time.Now()
			j.log.Warn("not in the cluster yet, goes on trying", "cluster", n.ClusterID, "reason", err)
		}
		timer := time.NewTimer(joinPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Admission{}, fmt.Errorf("join cluster %q: %w", n.ClusterID, ctx.Err())
		}
	}
}

// CheckFirstStart refuses to begin a replica with the node's own id if the cluster
// knows the node already: that replica has voted, and without its log it would vote
// again (rule M1). A cluster that does not answer is taken for one that does not run
// yet, as when all nodes start for the first time.
func CheckFirstStart(ctx context.Context, n Newcomer, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	j := newJoiner(n, log)
	defer j.pool.Close()
	found := make(chan error, len(j.addresses))
	for id := range j.addresses {
		go func() {
			cluster, err := j.describe(ctx, id)
			if err != nil || cluster.ClusterID == "" {
				found <- nil // it does not run, or nobody has begun
				return
			}
			found <- j.known(cluster)
		}()
	}
	var refused error
	for range j.addresses {
		refused = cmp.Or(<-found, refused)
	}
	return refused
}

// known returns why this node may not begin in a cluster that runs.
func (j *joiner) known(cluster *kmsg.DescribeClusterResponse) error {
	if cluster.ClusterID != j.ClusterID {
		return fmt.Errorf("cluster/peers has nodes of cluster %q, but cluster/id is %q: correct one of them", cluster.ClusterID, j.ClusterID)
	}
	if !slices.ContainsFunc(cluster.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == j.BrokerID }) {
		return nil
	}
	return fmt.Errorf("node %d has no data here, but it is known in cluster %q: its replica of the metadata log may have voted, and must not begin again without its log. If the data is lost, set cluster/join: true to bring the node back with a new replica; if not, set node/data_dir to where it is", j.BrokerID, j.ClusterID)
}

// joiner is one joining.
type joiner struct {
	Newcomer
	pool *interbroker.Pool
	log  *slog.Logger

	// addresses are what pool dials: seeds, and brokers once they are told of. Only
	// the goroutine of Join changes it.
	addresses map[int32]string
	admission Admission
}

// seed returns the id of a peer as pool knows it. It is no broker's: which broker is
// at the address may have changed since the config file was written.
func seed(peer int32) int32 { return -1 - peer }

func newJoiner(n Newcomer, log *slog.Logger) *joiner {
	j := &joiner{Newcomer: n, log: log.With("component", "join"), addresses: map[int32]string{}}
	for id, address := range n.Peers {
		if id != n.BrokerID {
			j.addresses[seed(id)] = address
		}
	}
	cfg := interbroker.DefaultConfig()
	cfg.SelfID, cfg.TLS = n.BrokerID, n.TLS
	j.pool = interbroker.New(cfg, func(id int32) []string { return []string{j.addresses[id]} }, slog.New(slog.DiscardHandler))
	return j
}

// attempt is one look at the cluster, and a request to be added if it has not
// happened yet.
func (j *joiner) attempt(ctx context.Context) error {
	leader, err := j.leader(ctx)
	if err != nil {
		return err
	}
	if added, err := j.look(ctx, leader); added || err != nil {
		return err
	}
	if err := j.ask(ctx, leader); err != nil {
		return err
	}
	added, err := j.look(ctx, leader)
	if err == nil && !added {
		err = errors.New("the leader does not know of the replica that it has added")
	}
	return err
}

// leader finds the broker that leads the metadata log.
func (j *joiner) leader(ctx context.Context) (int32, error) {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(j.addresses)) {
		cluster, err := j.describe(ctx, id)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", j.addresses[id], err))
			continue
		case cluster.ClusterID != "" && cluster.ClusterID != j.ClusterID:
			return 0, fmt.Errorf("%w: %s belongs to cluster %q: correct cluster/peers or cluster/id", errRefused, j.addresses[id], cluster.ClusterID)
		}
		for _, b := range cluster.Brokers {
			if b.NodeID != j.BrokerID {
				j.addresses[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
			}
		}
		if j.addresses[cluster.ControllerID] != "" {
			return cluster.ControllerID, nil
		}
		errs = append(errs, fmt.Errorf("%s knows of no leader", j.addresses[id]))
	}
	return 0, errors.Join(errs...)
}

// describe asks a node for the cluster's brokers and their cluster listeners.
func (j *joiner) describe(ctx context.Context, id int32) (*kmsg.DescribeClusterResponse, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = controllerEndpoints, true
	resp, err := joinRoundTrip[*kmsg.DescribeClusterResponse](ctx, j, id, req)
	if err != nil {
		return nil, err
	}
	return resp, answerError(resp.ErrorCode, resp.ErrorMessage)
}

// look asks the leader for the members, and notes them. It tells whether the replica
// that was asked for is among them.
func (j *joiner) look(ctx context.Context, leader int32) (added bool, err error) {
	replicas, err := askQuorum(ctx, func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
		return joinRoundTrip[kmsg.Response](ctx, j, leader, req)
	})
	if err != nil {
		return false, err
	}
	next := uint64(1)
	j.admission.Members = nil
	for _, m := range replicas {
		j.admission.Members = append(j.admission.Members, m)
		added = added || m.ReplicaID == j.admission.Replica && m.BrokerID == j.BrokerID
		next = max(next, m.ReplicaID+1)
	}
	if j.admission.Replica == 0 {
		j.admission.Replica = next // a guess; the leader knows what was used before
	}
	return added, nil
}

// ask asks the leader to add the replica.
func (j *joiner) ask(ctx context.Context, leader int32) error {
	for {
		req, err := addVoterRequest(j.ClusterID, consensus.Member{ReplicaID: j.admission.Replica, BrokerID: j.BrokerID, Address: j.ReplicaAddress})
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		req.AckWhenCommitted = false // it can not catch up before it runs
		resp, err := joinRoundTrip[*kmsg.AddRaftVoterResponse](ctx, j, leader, req)
		if err != nil {
			return err
		}
		err = answerError(resp.ErrorCode, resp.ErrorMessage)
		switch protocol.CodeOf(err) {
		case protocol.DuplicateVoter:
			if next := controller.NextReplica(&resp.UnknownTags); next > j.admission.Replica {
				j.admission.Replica = next
				continue
			}
		case protocol.InvalidRequest, protocol.UnsupportedVersion, protocol.InconsistentClusterID:
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		return err
	}
}

// joinRoundTrip bounds one request and checks the type of its answer.
func joinRoundTrip[Resp kmsg.Response](ctx context.Context, j *joiner, id int32, req kmsg.Request) (resp Resp, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinRequest)
	defer cancel()
	answer, err := j.pool.Request(ctx, id, interbroker.LaneControl, req)
	if err != nil {
		return resp, err
	}
	resp, ok := answer.(Resp)
	if !ok {
		return resp, fmt.Errorf("%s was answered with %T", kmsg.NameForKey(req.Key()), answer)
	}
	return resp, nil
}
