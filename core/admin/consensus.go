package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	// statusWait bounds the questions to the plugin for one status.
	statusWait = 2 * time.Second
	// changeWait bounds a change of membership or leadership.
	changeWait = 30 * time.Second
	// maxChangeBytes bounds the body of a change.
	maxChangeBytes = 64 << 10
)

// consensusAPI answers what is below /consensus.
type consensusAPI struct {
	node    int32
	client  consensus.Client
	applied func() uint64 // the index of the metadata log that this node has applied
	reserve func(context.Context, consensus.Member) error
	log     *slog.Logger
}

// TransferRequest is the body of POST /consensus/transfer-leader.
type TransferRequest struct {
	To uint64 `json:"to"` // replica id; 0 = the best prepared voter
}

// MembersRequest is the body of POST /consensus/members.
type MembersRequest struct {
	ConfigIndex uint64         `json:"config_index"` // of the configuration that was read before
	Changes     []MemberChange `json:"changes"`
}

// MemberChange is one change of the membership.
type MemberChange struct {
	Op string `json:"op"` // add, promote, demote, remove or set-address
	Member
}

// ConsensusError is the body of every answer that is not 200.
type ConsensusError struct {
	Message string `json:"error"`
	// Code is one of not-leader, stale-config, pending, unsupported, invalid,
	// unavailable, uncertain or failed.
	Code   string `json:"code"`
	Leader uint64 `json:"leader,omitempty"` // with not-leader, if it is known
}

func (c *consensusAPI) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /consensus", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), statusWait)
		defer cancel()
		c.answer(w, http.StatusOK, c.status(ctx))
	})
	mux.HandleFunc("POST /consensus/transfer-leader", change(c, c.transfer))
	mux.HandleFunc("POST /consensus/members", change(c, c.changeMembers))
}

// change makes a handler of do. It insists on JSON by its content type, which a
// web page cannot send here without being asked (CORS).
func change[Req any](c *consensusAPI, do func(context.Context, Req) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChangeBytes))
		body.DisallowUnknownFields()
		err := body.Decode(&req)
		if r.Header.Get("Content-Type") != "application/json" {
			err = errors.New("the content type must be application/json")
		}
		if err != nil {
			c.answer(w, http.StatusBadRequest, ConsensusError{Message: err.Error(), Code: "invalid"})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), changeWait)
		defer cancel()
		done, err := do(ctx, req)
		if err != nil {
			status, e := c.failure(err)
			c.answer(w, status, e)
			return
		}
		c.answer(w, http.StatusOK, done)
	}
}

func (c *consensusAPI) transfer(ctx context.Context, req TransferRequest) (any, error) {
	c.log.Info("leadership of the metadata log is asked to move", "to", req.To)
	if err := c.client.TransferLeadership(ctx, consensus.Metadata, req.To); err != nil {
		return nil, err
	}
	return c.status(ctx), nil
}

func (c *consensusAPI) changeMembers(ctx context.Context, req MembersRequest) (any, error) {
	var changes []consensus.Change
	for _, m := range req.Changes {
		op, ok := ops[m.Op]
		if !ok {
			return nil, fmt.Errorf("%w: op %q is not add, promote, demote, remove or set-address", consensus.ErrInvalidArgument, m.Op)
		}
		changes = append(changes, consensus.Change{Op: op, Member: consensus.Member{
			ReplicaID: m.Replica, BrokerID: m.Broker, Address: m.Address,
		}})
	}
	if len(changes) == 0 {
		return nil, fmt.Errorf("%w: no changes", consensus.ErrInvalidArgument)
	}
	if err := c.reserveNew(ctx, req.ConfigIndex, changes); err != nil {
		return nil, err
	}
	c.log.Info("the membership of the metadata log is asked to change", "config_index", req.ConfigIndex, "changes", req.Changes)
	members, err := c.client.ChangeMembers(ctx, consensus.Metadata, req.ConfigIndex, changes)
	if err != nil {
		return nil, err
	}
	return configuration(members), nil
}

// reserveNew reserves the ids of replicas that are added. What the backend is about
// to refuse costs no id: it has the better words.
func (c *consensusAPI) reserveNew(ctx context.Context, configIndex uint64, changes []consensus.Change) error {
	members, err := c.client.Members(ctx, consensus.Metadata)
	if err != nil {
		return err
	}
	lead, _ := c.client.LeaderFor(consensus.Metadata)
	if lead.Role != consensus.LeaderReady || members.ConfigIndex != configIndex {
		return nil
	}
	for _, change := range changes {
		known := slices.ContainsFunc(members.Members, func(m consensus.Member) bool { return m.ReplicaID == change.Member.ReplicaID })
		if change.Op != consensus.AddLearner || change.Member.ReplicaID == 0 || known {
			continue
		}
		if err := c.reserve(ctx, change.Member); err != nil {
			return err
		}
	}
	return nil
}

var ops = map[string]consensus.ChangeOp{
	"add": consensus.AddLearner, "promote": consensus.Promote, "demote": consensus.Demote,
	"remove": consensus.Remove, "set-address": consensus.SetAddress,
}

// failure puts err into the words and the status of an answer.
func (c *consensusAPI) failure(err error) (int, ConsensusError) {
	for _, f := range []struct {
		err    error
		status int
		code   string
	}{
		{consensus.ErrNotLeader, http.StatusConflict, "not-leader"},
		{consensus.ErrStaleConfig, http.StatusConflict, "stale-config"},
		{consensus.ErrConfigPending, http.StatusConflict, "pending"},
		{consensus.ErrTransferPending, http.StatusConflict, "pending"},
		{consensus.ErrUnsupported, http.StatusNotImplemented, "unsupported"},
		{consensus.ErrInvalidArgument, http.StatusBadRequest, "invalid"},
		{consensus.ErrTimeout, http.StatusGatewayTimeout, "uncertain"},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "uncertain"},
		{consensus.ErrLeadershipLost, http.StatusGatewayTimeout, "uncertain"},
		{consensus.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
		{consensus.ErrNoQuorum, http.StatusServiceUnavailable, "unavailable"},
	} {
		if !errors.Is(err, f.err) {
			continue
		}
		e := ConsensusError{Message: err.Error(), Code: f.code}
		if f.code == "not-leader" {
			l, _ := c.client.LeaderFor(consensus.Metadata)
			e.Leader = l.Leader
		}
		return f.status, e
	}
	return http.StatusInternalServerError, ConsensusError{Message: err.Error(), Code: "failed"}
}

func (c *consensusAPI) answer(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		c.log.Error("cannot encode an answer", "error", err)
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the reader is gone
}
