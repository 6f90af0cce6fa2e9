package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

// muxes returns what replicas 1 to 3 serve, and their cluster; 1 leads in term 1.
func muxes(t *testing.T) (map[uint64]http.Handler, *consensustest.FakeCluster) {
	t.Helper()
	c := consensustest.NewFakeCluster(3)
	c.Elect(1, 1)
	ids := &idCounter{next: 4}
	out := map[uint64]http.Handler{}
	for id := uint64(1); id <= 3; id++ {
		mux := http.NewServeMux()
		WithConsensus(int32(id), c.Replica(id), func() uint64 { return 1 }, ids.take)(mux, slog.New(slog.DiscardHandler))
		out[id] = mux
	}
	return out, c
}

// idCounter is the ids that replicas had.
type idCounter struct{ next uint64 }

func (i *idCounter) take(_ context.Context, m consensus.Member) error {
	if m.ReplicaID < i.next {
		return fmt.Errorf("%w: replica id %d was used before", consensus.ErrInvalidArgument, m.ReplicaID)
	}
	i.next = m.ReplicaID + 1
	return nil
}

func ask(t *testing.T, h http.Handler, method, path, contentType, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func status(t *testing.T, h http.Handler) ConsensusStatus {
	t.Helper()
	code, body := ask(t, h, http.MethodGet, "/consensus", "", "")
	var s ConsensusStatus
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		t.Fatalf("got %d %s", code, body)
	}
	return s
}

func TestConsensusStatus(t *testing.T) {
	nodes, c := muxes(t)
	s := status(t, nodes[1])
	if s.Node != 1 || s.Replica.Role != "leader-ready" || s.Replica.Term != 1 || s.Replica.CommitIndex != 1 || s.Replica.AppliedIndex != 1 || s.Plugin.State != "running" {
		t.Errorf("leader: got %+v", s)
	}
	if len(s.Config.Members) != 3 || s.Config.Members[2] != (Member{Replica: 3, Broker: 3, Role: "voter"}) {
		t.Errorf("members: got %+v", s.Config)
	}
	if s := status(t, nodes[2]); s.Replica.Role != "follower" || s.Replica.Leader != 1 || s.Error != "" {
		t.Errorf("follower: got %+v", s)
	}
	c.Replica(2).SetDown(true)
	if s := status(t, nodes[2]); s.Error == "" || s.Plugin.State != "backoff" || s.Replica.Term != 1 || s.Replica.AppliedIndex != 1 {
		t.Errorf("without its plugin: got %+v", s)
	}
}

func TestConsensusChanges(t *testing.T) {
	tests := []struct {
		name        string
		node        uint64
		path        string
		contentType string
		body        string
		code        int
		want        string
	}{
		{"transfer on a follower", 2, "transfer-leader", "", `{"to":3}`, 409, `"code": "not-leader",
  "leader": 1`},
		{"transfer to nobody there", 1, "transfer-leader", "", `{"to":9}`, 400, `"invalid"`},
		{"transfer", 1, "transfer-leader", "", `{"to":3}`, 200, `"leader": 3`},
		{"add", 1, "members", "", `{"config_index":0,"changes":[{"op":"add","replica":4,"broker":4,"address":"n4:1"}]}`, 200, `"role": "learner"`},
		{"stale", 1, "members", "", `{"config_index":7,"changes":[{"op":"promote","replica":2}]}`, 409, `"stale-config"`},
		{"remove on a follower", 3, "members", "", `{"config_index":0,"changes":[{"op":"remove","replica":2}]}`, 409, `"leader": 1`},
		{"no such op", 1, "members", "", `{"config_index":0,"changes":[{"op":"kick","replica":2}]}`, 400, `op \"kick\" is not`},
		{"nothing", 1, "members", "", `{}`, 400, `no changes`},
		{"unknown field", 1, "transfer-leader", "", `{"tow":3}`, 400, `unknown field`},
		{"a web page's form", 1, "transfer-leader", "text/plain", `{"to":3}`, 400, `must be application/json`},
		{"too long", 1, "transfer-leader", "", `{"to":` + strings.Repeat(" ", maxChangeBytes) + `3}`, 400, `too large`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes, _ := muxes(t)
			contentType := tt.contentType
			if contentType == "" {
				contentType = "application/json"
			}
			code, body := ask(t, nodes[tt.node], http.MethodPost, "/consensus/"+tt.path, contentType, tt.body)
			if code != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("got %d %s\nwant %d and %s", code, body, tt.code, tt.want)
			}
		})
	}
}

// unable is a backend that offers nothing beyond the base.
type unable struct{ *consensustest.Fake }

func (unable) TransferLeadership(context.Context, consensus.GroupID, uint64) error {
	return consensus.ErrUnsupported
}

func (unable) Metrics(context.Context) ([]consensus.Metric, error) {
	return []consensus.Metric{{Name: "log_sync_seconds", Labels: map[string]string{"quantile": "0.99"}, Value: 0.0025}}, nil
}

func TestConsensusOfAnotherBackend(t *testing.T) {
	fake := consensustest.NewFake()
	fake.Elect(1)
	mux := http.NewServeMux()
	WithConsensus(1, unable{fake}, func() uint64 { return 0 }, nil)(mux, slog.New(slog.DiscardHandler))
	if code, body := ask(t, mux, http.MethodPost, "/consensus/transfer-leader", "application/json", `{}`); code != http.StatusNotImplemented {
		t.Errorf("got %d %s", code, body)
	}
	if s := status(t, mux); s.Plugin.FsyncP99 != 2.5 {
		t.Errorf("got %+v", s.Plugin)
	}
}

// The id of a replica is taken before it is added, and never again; what is refused
// for another reason costs none.
func TestReplicaIDsAreNotUsedAgain(t *testing.T) {
	nodes, _ := muxes(t)
	do := func(node uint64, op string, replica int) (int, string) {
		t.Helper()
		body := fmt.Sprintf(`{"config_index":%d,"changes":[{"op":%q,"replica":%d,"broker":%d,"address":"n4:1"}]}`, status(t, nodes[1]).Config.Index, op, replica, replica)
		return ask(t, nodes[node], http.MethodPost, "/consensus/members", "application/json", body)
	}
	for _, step := range []struct {
		node    uint64
		op      string
		replica int
		code    int
		want    string
	}{
		{2, "add", 4, http.StatusConflict, "not-leader"},
		{1, "add", 4, http.StatusOK, `"replica": 4`},
		{1, "add", 4, http.StatusBadRequest, "invalid"},
		{1, "remove", 4, http.StatusOK, "members"},
		{1, "add", 4, http.StatusBadRequest, "replica id 4 was used before"},
		{1, "add", 5, http.StatusOK, `"replica": 5`},
	} {
		if code, body := do(step.node, step.op, step.replica); code != step.code || !strings.Contains(body, step.want) {
			t.Errorf("%s %d at node %d: got %d %s\nwant %d and %s", step.op, step.replica, step.node, code, body, step.code, step.want)
		}
	}
}
