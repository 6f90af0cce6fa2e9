package core

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/protocol"
)

const (
	// metadataLog is what Kafka calls the metadata log; it has one partition.
	metadataLog = "__cluster_metadata"
	// quorumListener is the name of the replicas' own listeners in requests.
	quorumListener = "CONSENSUS"
)

// askQuorum asks the leader of the metadata log, which request reaches, for the
// replicas. Only of the newest replica of each node the address is told.
func askQuorum(ctx context.Context, request func(context.Context, kmsg.Request) (kmsg.Response, error)) ([]consensus.Member, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = metadataLog
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	answer, err := request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.DescribeQuorumResponse)
	if !ok {
		return nil, fmt.Errorf("DescribeQuorum was answered with %T", answer)
	}
	if err := answerError(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("DescribeQuorum was answered with %d topics", len(resp.Topics))
	}
	p := resp.Topics[0].Partitions[0]
	if err := answerError(p.ErrorCode, p.ErrorMessage); err != nil {
		return nil, err
	}
	var members []consensus.Member
	for _, v := range p.CurrentVoters {
		members = append(members, quorumMember(v, consensus.Voter))
	}
	for _, o := range p.Observers {
		members = append(members, quorumMember(o, consensus.LearnerMember))
	}
	return withAddresses(members, resp.Nodes), nil
}

func quorumMember(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState, role consensus.MemberRole) consensus.Member {
	return consensus.Member{ReplicaID: controller.ReplicaOf(s.ReplicaID, s.ReplicaDirectoryID), BrokerID: s.ReplicaID, Role: role}
}

func withAddresses(members []consensus.Member, nodes []kmsg.DescribeQuorumResponseNode) []consensus.Member {
	newest := map[int32]int{} // index by node
	for n, m := range members {
		if at, ok := newest[m.BrokerID]; !ok || members[at].ReplicaID < m.ReplicaID {
			newest[m.BrokerID] = n
		}
	}
	for _, node := range nodes {
		at, ok := newest[node.NodeID]
		for _, l := range node.Listeners {
			if ok && l.Name == quorumListener {
				members[at].Address = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
			}
		}
	}
	return members
}

// addVoterRequest asks for m to be added, or promoted.
func addVoterRequest(cluster string, m consensus.Member) (*kmsg.AddRaftVoterRequest, error) {
	host, port, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, fmt.Errorf("address of the replica: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address of the replica: %w", err)
	}
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.ClusterID = &cluster
	req.VoterID, req.VoterDirectoryID = m.BrokerID, protocol.DirectoryID(m.ReplicaID)
	l := kmsg.NewAddRaftVoterRequestListener()
	l.Name, l.Host, l.Port = quorumListener, host, uint16(number)
	req.Listeners = append(req.Listeners, l)
	return req, nil
}

// removeVoterRequest asks for m to be removed.
func removeVoterRequest(cluster string, m consensus.Member) *kmsg.RemoveRaftVoterRequest {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.ClusterID = &cluster
	req.VoterID, req.VoterDirectoryID = m.BrokerID, protocol.DirectoryID(m.ReplicaID)
	return req
}

// answerError is what an answer's code and message say; nil without an error.
func answerError(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	if message == nil || *message == "" {
		return protocol.Errorf(protocol.ErrorCode(code), "%s", protocol.ErrorCode(code))
	}
	return protocol.Errorf(protocol.ErrorCode(code), "%s", *message)
}
