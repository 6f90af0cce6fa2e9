package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// consumer is a client that speaks for one member of group "g".
type consumer struct {
	b          *broker
	group      string
	id         string
	instance   *string
	generation int32
	leader     string
	members    []string // if it leads
	assignment string
	protocols  []string // "range" if nil
	version    int16
}

func (b *broker) consumer() *consumer { return &consumer{b: b, group: "g", version: 7} }

func (b *broker) static(instance string) *consumer {
	c := b.consumer()
	c.instance = new(instance)
	return c
}

const session, rebalanceTimeout = 10 * time.Second, 60 * time.Second

func (c *consumer) joinRequest() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = c.version, c.group, c.id, c.instance
	req.ProtocolType = consumerProtocol
	req.SessionTimeoutMillis = int32(session.Milliseconds())
	req.RebalanceTimeoutMillis = int32(rebalanceTimeout.Milliseconds())
	names := c.protocols
	if names == nil {
		names = []string{"range"}
	}
	for _, name := range names {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, []byte("metadata of "+name)
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

// joinOnce sends one JoinGroup and takes over what it learns.
func (c *consumer) joinOnce() protocol.ErrorCode {
	resp := c.b.JoinGroup(c.b.t.Context(), c.joinRequest(), ClientInfo{ID: "client", Host: "127.0.0.1"})
	if resp.MemberID != "" {
		c.id = resp.MemberID
	}
	c.generation, c.leader, c.members = resp.Generation, resp.LeaderID, nil
	for _, m := range resp.Members {
		c.members = append(c.members, m.MemberID)
	}
	return protocol.ErrorCode(resp.ErrorCode)
}

// join joins, twice if it first has to be given its id.
func (c *consumer) join() protocol.ErrorCode {
	code := c.joinOnce()
	if code == protocol.MemberIDRequired {
		code = c.joinOnce()
	}
	return code
}

// sync assigns "for <member id>" to everybody if it leads.
func (c *consumer) sync() protocol.ErrorCode {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 3, c.group, c.id, c.instance, c.generation
	for _, id := range c.members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, []byte("for "+id)
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	resp := c.b.SyncGroup(c.b.t.Context(), req)
	c.assignment = string(resp.MemberAssignment)
	return protocol.ErrorCode(resp.ErrorCode)
}

func (c *consumer) heartbeat() protocol.ErrorCode {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 3, c.group, c.id, c.instance, c.generation
	return protocol.ErrorCode(c.b.Heartbeat(c.b.t.Context(), req).ErrorCode)
}

func (c *consumer) leave() protocol.ErrorCode {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = c.group, c.id
	return protocol.ErrorCode(c.b.LeaveGroup(c.b.t.Context(), req).ErrorCode)
}

// commit commits one offset with metadata and leader epoch 7.
func (c *consumer) commit(topic string, partition int32, at int64) protocol.ErrorCode {
	resp := c.b.OffsetCommit(c.b.t.Context(), c.commitRequest(topic, partition, at))
	return protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func (c *consumer) commitRequest(topic string, partition int32, at int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 8, c.group, c.id, c.instance, c.generation
	if c.id == "" {
		req.Generation = -1
	}
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = partition, at, 7, new("note")
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.OffsetCommitRequestTopicPartition{rp}
	req.Topics = []kmsg.OffsetCommitRequestTopic{rt}
	return req
}

// call is a request that may wait.
type call <-chan protocol.ErrorCode

// begin sends a request and returns when everything stands still.
func begin(f func() protocol.ErrorCode) call {
	c := make(chan protocol.ErrorCode, 1)
	go func() { c <- f() }()
	synctest.Wait()
	return c
}

func waits(t *testing.T, what string, c call) {
	t.Helper()
	synctest.Wait()
	select {
	case code := <-c:
		t.Errorf("%s: answered %v, want it to wait", what, code)
	default:
	}
}

func want(t *testing.T, what string, got, want protocol.ErrorCode) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// join brings all consumers into one stable generation: those who are new join,
// the others rejoin.
func join(t *testing.T, consumers ...*consumer) {
	t.Helper()
	var calls []call
	for _, c := range consumers {
		calls = append(calls, begin(c.join))
	}
	for i, c := range calls {
		want(t, "join of "+consumers[i].id, <-c, protocol.None)
	}
	syncAll(t, consumers...)
}

// syncAll has everybody fetch the assignment, the leader last.
func syncAll(t *testing.T, consumers ...*consumer) {
	t.Helper()
	calls := map[*consumer]call{}
	for _, c := range consumers {
		if c.id != c.leader {
			calls[c] = begin(c.sync)
		}
	}
	for _, c := range consumers {
		if c.id == c.leader {
			want(t, "sync of the leader", c.sync(), protocol.None)
		}
	}
	for c, answer := range calls {
		want(t, "sync of "+c.id, <-answer, protocol.None)
	}
	for _, c := range consumers {
		if c.assignment != "for "+c.id {
			t.Errorf("%s was assigned %q", c.id, c.assignment)
		}
	}
}
