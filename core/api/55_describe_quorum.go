package api

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// metadataTopic is what Kafka calls the metadata log; it has one partition.
const metadataTopic = "__cluster_metadata"

// describeQuorum answers DescribeQuorum (key 55), v0 to v2, as the leader of the
// metadata log sees it. A term is a leader epoch; an offset is an index, so that
// the end of a log is its last index plus one. A node and its directory name a
// replica; a node that has lost its disk has two while it is being replaced.
//
//	v1  when replicas were heard of (KIP-836)
//	v2  messages; where replicas listen (KIP-853): the plugins' peer addresses
func (a *API) describeQuorum(ctx context.Context, s *Session, req *kmsg.DescribeQuorumRequest) (*kmsg.DescribeQuorumResponse, error) {
	resp, err := byLeader(ctx, a, s, req, func(ctx context.Context) (*kmsg.DescribeQuorumResponse, error) {
		return a.quorumHere(ctx, req)
	})
	if err != nil {
		resp = kmsg.NewPtrDescribeQuorumResponse()
		resp.ErrorCode, resp.ErrorMessage = a.verdict("DescribeQuorum", quorumError(err))
	}
	return resp, nil
}

func (a *API) quorumHere(ctx context.Context, req *kmsg.DescribeQuorumRequest) (*kmsg.DescribeQuorumResponse, error) {
	status, err := a.quorum.Status(ctx)
	if err != nil {
		return nil, err
	}
	members, err := a.quorum.Members(ctx)
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	for _, t := range req.Topics {
		topic := kmsg.NewDescribeQuorumResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			if t.Topic == metadataTopic && p.Partition == 0 {
				topic.Partitions = append(topic.Partitions, quorumPartition(status, members, time.Now()))
				continue
			}
			unknown := kmsg.NewDescribeQuorumResponseTopicPartition()
			unknown.Partition, unknown.ErrorCode = p.Partition, int16(protocol.UnknownTopicOrPartition)
			unknown.ErrorMessage = new("only " + metadataTopic + "-0 is kept by a quorum")
			topic.Partitions = append(topic.Partitions, unknown)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	resp.Nodes = quorumNodes(members)
	return resp, nil
}

func quorumPartition(s consensus.Status, members consensus.Membership, now time.Time) kmsg.DescribeQuorumResponseTopicPartition {
	out := kmsg.NewDescribeQuorumResponseTopicPartition()
	out.LeaderID, out.LeaderEpoch = -1, int32(s.Leadership.Term)
	if leader, ok := memberOf(members, s.Leadership.Leader); ok {
		out.LeaderID = leader.BrokerID
	}
	out.HighWatermark = int64(s.CommitIndex) + 1
	for _, m := range members.Members {
		state := replicaState(m, s, now)
		if m.Role == consensus.Voter {
			out.CurrentVoters = append(out.CurrentVoters, state)
		} else {
			out.Observers = append(out.Observers, state)
		}
	}
	return out
}

// replicaState is a replica as the leader sees it; about itself it knows all.
func replicaState(m consensus.Member, s consensus.Status, now time.Time) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	out := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	out.ReplicaID, out.ReplicaDirectoryID, out.LogEndOffset = m.BrokerID, protocol.DirectoryID(m.ReplicaID), -1
	if m.ReplicaID == s.Leadership.Leader {
		out.LogEndOffset = int64(s.LastIndex) + 1
		out.LastFetchTimestamp, out.LastCaughtUpTimestamp = now.UnixMilli(), now.UnixMilli()
		return out
	}
	for _, p := range s.Peers {
		if p.ReplicaID != m.ReplicaID {
			continue
		}
		out.LogEndOffset = int64(p.Match) + 1
		out.LastFetchTimestamp = now.Add(-p.LastContact).UnixMilli()
		if p.Match >= s.CommitIndex {
			out.LastCaughtUpTimestamp = out.LastFetchTimestamp
		}
	}
	return out
}

// quorumListener is the name that the plugins' own listeners get in answers.
const quorumListener = "CONSENSUS"

// quorumNodes returns the nodes and where the newest replica of each listens.
func quorumNodes(members consensus.Membership) []kmsg.DescribeQuorumResponseNode {
	newest := map[int32]consensus.Member{}
	for _, m := range members.Members {
		if m.ReplicaID > newest[m.BrokerID].ReplicaID {
			newest[m.BrokerID] = m
		}
	}
	var out []kmsg.DescribeQuorumResponseNode
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		m := newest[id]
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = id
		host, port, err := net.SplitHostPort(m.Address)
		number, numberErr := strconv.ParseUint(port, 10, 16)
		if err == nil && numberErr == nil {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = quorumListener, host, uint16(number)
			n.Listeners = append(n.Listeners, l)
		}
		out = append(out, n)
	}
	return out
}
