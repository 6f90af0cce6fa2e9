package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// entry is one API: its versions, the listeners it is served on, its handler.
type entry struct {
	key                    kmsg.Key
	minVersion, maxVersion int16
	listeners              listeners
	begin                  func(context.Context, *API, *Session, *Request) Answer
}

type listeners int

const (
	clients listeners = 1 << iota
	brokers
	both = clients | brokers
)

func (e *entry) on(kind Kind) bool {
	if kind == Cluster {
		return e.listeners&brokers != 0
	}
	return e.listeners&clients != 0
}

// table is the only list of what is served. A version is in it once it works.
//
// Produce is advertised from 0 although 0 to 2 are refused: librdkafka switches
// compression off otherwise (KAFKA-18659).
var table []entry

func init() { //nolint:gochecknoinits // the table refers to ApiVersions, which reads the table
	table = []entry{
		{kmsg.Produce, 0, 12, clients, beginProduce},
		{kmsg.Fetch, 4, 17, both, beginFetch},
		{kmsg.ListOffsets, 1, 8, clients, handle((*API).listOffsets)},
		{kmsg.Metadata, 0, 12, both, handle((*API).metadata)},
		{kmsg.OffsetCommit, 2, 9, clients, handle((*API).offsetCommit)},
		{kmsg.OffsetFetch, 1, 9, clients, handle((*API).offsetFetch)},
		{kmsg.FindCoordinator, 0, 5, clients, handle((*API).findCoordinator)},
		{kmsg.JoinGroup, 0, 9, clients, handle((*API).joinGroup)},
		{kmsg.Heartbeat, 0, 4, clients, handle((*API).heartbeat)},
		{kmsg.LeaveGroup, 0, 5, clients, handle((*API).leaveGroup)},
		{kmsg.SyncGroup, 0, 5, clients, handle((*API).syncGroup)},
		{kmsg.DescribeGroups, 0, 5, clients, handle((*API).describeGroups)},
		{kmsg.ListGroups, 0, 5, clients, handle((*API).listGroups)},
		{kmsg.ApiVersions, 0, 4, both, beginAPIVersions},
		{kmsg.CreateTopics, 2, 7, clients, handle((*API).createTopics)},
		{kmsg.DeleteTopics, 1, 6, clients, handle((*API).deleteTopics)},
		{kmsg.DeleteRecords, 0, 2, clients, handle((*API).deleteRecords)},
		{kmsg.InitProducerID, 0, 5, clients, handle((*API).initProducerID)},
		{kmsg.OffsetForLeaderEpoch, 2, 4, both, handle((*API).offsetForLeaderEpoch)},
		{kmsg.DescribeConfigs, 1, 4, clients, handle((*API).describeConfigs)},
		{kmsg.AlterConfigs, 0, 2, clients, handle((*API).alterConfigs)},
		{kmsg.CreatePartitions, 0, 3, clients, handle((*API).createPartitions)},
		{kmsg.DeleteGroups, 0, 2, clients, handle((*API).deleteGroups)},
		{kmsg.IncrementalAlterConfigs, 0, 1, clients, handle((*API).incrementalAlterConfigs)},
		{kmsg.AlterPartitionAssignments, 0, 1, clients, handle((*API).alterPartitionReassignments)},
		{kmsg.ListPartitionReassignments, 0, 0, clients, handle((*API).listPartitionReassignments)},
		{kmsg.OffsetDelete, 0, 0, clients, handle((*API).offsetDelete)},
		{kmsg.DescribeQuorum, 0, 2, both, handle((*API).describeQuorum)},
		{kmsg.AlterPartition, 3, 3, brokers, handleDirect},
		{kmsg.Envelope, 0, 0, brokers, handle((*API).envelope)},
		{kmsg.DescribeCluster, 0, 2, both, handle((*API).describeCluster)},
		{kmsg.BrokerRegistration, 4, 4, brokers, handleDirect},
		{kmsg.BrokerHeartbeat, 1, 1, brokers, handleDirect},
		{kmsg.UnregisterBroker, 0, 0, clients, handle((*API).unregisterBroker)},
		{kmsg.AllocateProducerIDs, 0, 0, brokers, handleDirect},
		{kmsg.AddRaftVoter, 0, 1, both, handle((*API).addRaftVoter)},
		{kmsg.RemoveRaftVoter, 0, 0, both, handle((*API).removeRaftVoter)},
	}
}

// handle makes an entry of a handler that does all its work in the Answer.
func handle[Req kmsg.Request, Resp kmsg.Response](f func(*API, context.Context, *Session, Req) (Resp, error)) func(context.Context, *API, *Session, *Request) Answer {
	return func(_ context.Context, a *API, s *Session, r *Request) Answer {
		return func(ctx context.Context) (protocol.Response, error) {
			req, ok := r.Body.(Req)
			if !ok {
				return nil, fmt.Errorf("request of key %d decoded as %T", r.Key, r.Body)
			}
			resp, err := f(a, withClientID(ctx, r.ClientID), s, req)
			if err != nil {
				return nil, err
			}
			resp.SetVersion(r.Version)
			return resp, nil
		}
	}
}

type clientIDKey struct{}

func withClientID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, clientIDKey{}, id)
}

// clientID is the client id of the request that ctx belongs to.
func clientID(ctx context.Context) string {
	id, _ := ctx.Value(clientIDKey{}).(string)
	return id
}

// handleDirect passes a request from another broker on to the controller.
func handleDirect(_ context.Context, a *API, _ *Session, r *Request) Answer {
	return func(ctx context.Context) (protocol.Response, error) {
		resp := a.controller.HandleDirect(ctx, r.Body)
		resp.SetVersion(r.Version)
		return resp, nil
	}
}
