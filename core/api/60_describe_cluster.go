package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// The endpoint types. Controllers have no endpoints of their own: brokers, who may
// ask on the cluster listener, are told where that is on every broker.
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

// describeCluster answers DescribeCluster (key 60), v0 to v2.
//
//	v1  endpoint types (KIP-919); controllers' for brokers only
//	v2  fenced brokers if asked for (KIP-1073)
func (a *API) describeCluster(_ context.Context, s *Session, req *kmsg.DescribeClusterRequest) (*kmsg.DescribeClusterResponse, error) {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterAuthorizedOperations = notComputed
	resp.EndpointType = brokerEndpoints
	controllers := req.Version >= 1 && req.EndpointType == controllerEndpoints && s.Kind == Cluster
	if controllers {
		resp.EndpointType = controllerEndpoints
	} else if req.Version >= 1 && req.EndpointType != brokerEndpoints {
		err := protocol.Errorf(protocol.UnsupportedEndpointType, "endpoint type %d is not served; ask for brokers (1)", req.EndpointType)
		resp.ErrorCode, resp.ErrorMessage = int16(err.Code), &err.Message
		return resp, nil
	}
	img := a.images.Current()
	resp.ClusterID = img.ClusterID
	resp.ControllerID = a.controllerID(img)
	for b := range img.Brokers() {
		if b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		e, ok := endpointFor(b, s.Listener)
		if controllers {
			e, ok = endpoint{b.ID, b.Cluster.Host, b.Cluster.Port, rackOf(b)}, b.Cluster.Host != ""
		}
		if ok {
			resp.Brokers = append(resp.Brokers, describeBroker(b, e))
		}
	}
	slices.SortFunc(resp.Brokers, func(a, b kmsg.DescribeClusterResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return resp, nil
}

func describeBroker(b *metadata.Broker, e endpoint) kmsg.DescribeClusterResponseBroker {
	out := kmsg.NewDescribeClusterResponseBroker()
	out.NodeID, out.Host, out.Port, out.Rack = e.id, e.host, e.port, e.rack
	out.IsFenced = b.Fenced
	return out
}
