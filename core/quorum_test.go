package core_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core"
)

func TestQuorum(t *testing.T) {
	b := startBroker(t, func(c *core.Config) { c.API.RequestTimeout = 2 * time.Second })
	ctx := within(t, 30*time.Second)
	client := b.client(t)
	describe := func() kmsg.DescribeQuorumResponseTopicPartition {
		t.Helper()
		req := kmsg.NewPtrDescribeQuorumRequest()
		topic := kmsg.NewDescribeQuorumRequestTopic()
		topic.Topic = "__cluster_metadata"
		topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		other := topic
		other.Topic = "orders"
		req.Topics = append(req.Topics, topic, other)
		resp, err := req.RequestWith(ctx, client)
		must(t, err)
		must(t, kerr.ErrorForCode(resp.ErrorCode))
		if code := resp.Topics[1].Partitions[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("another topic: got code %d", code)
		}
		return resp.Topics[0].Partitions[0]
	}
	p := describe()
	if p.LeaderID != 1 || p.LeaderEpoch != 1 || p.HighWatermark < 2 || len(p.CurrentVoters) != 1 || len(p.Observers) != 0 {
		t.Errorf("got %+v", p)
	}
	if v := p.CurrentVoters[0]; v.ReplicaID != 1 || v.LogEndOffset != p.HighWatermark || v.LastCaughtUpTimestamp <= 0 {
		t.Errorf("the leader: got %+v", v)
	}

	add := kmsg.NewPtrAddRaftVoterRequest()
	add.VoterID = 2
	if code := addVoter(t, client, add); code != kerr.InvalidRequest.Code {
		t.Errorf("without an address: got code %d", code)
	}
	add.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: "CONSENSUS", Host: "node2", Port: 9193}}
	add.ClusterID = new("another")
	if code := addVoter(t, client, add); code != kerr.InconsistentClusterID.Code {
		t.Errorf("another cluster: got code %d", code)
	}
	add.ClusterID = nil
	if code := addVoter(t, client, add); code != 0 {
		t.Fatalf("add: got code %d", code)
	}
	if code := addVoter(t, client, add); code != kerr.DuplicateVoter.Code {
		t.Errorf("add again: got code %d", code)
	}
	if p := describe(); len(p.CurrentVoters) != 2 || p.CurrentVoters[1].LogEndOffset != p.HighWatermark {
		t.Errorf("after the addition: got %+v", p)
	}

	remove := kmsg.NewPtrRemoveRaftVoterRequest()
	remove.VoterID = 2
	for _, want := range []int16{0, kerr.VoterNotFound.Code} {
		resp, err := remove.RequestWith(ctx, client)
		must(t, err)
		if resp.ErrorCode != want {
			t.Errorf("remove: got code %d, want %d", resp.ErrorCode, want)
		}
	}

	b.log.Depose()
	req := kmsg.NewPtrDescribeQuorumRequest()
	resp, err := req.RequestWith(ctx, client)
	must(t, err)
	if resp.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("without a leader: got code %d", resp.ErrorCode)
	}
}

func addVoter(t *testing.T, client kmsg.Requestor, req *kmsg.AddRaftVoterRequest) int16 {
	t.Helper()
	resp, err := req.RequestWith(within(t, 10*time.Second), client)
	must(t, err)
	return resp.ErrorCode
}
