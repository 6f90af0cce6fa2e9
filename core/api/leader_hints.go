package api

import (
	"slices"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// leaderHints collects who leads what, for answers that send a client to another
// broker (KIP-951). Every leader that is named gets its endpoint; a leader whose
// endpoint is not known is not named.
type leaderHints struct {
	img      *metadata.Image
	listener string // the endpoint's, so that the client can reach it
	named    []int32
}

// endpoint is a broker as a client reaches it.
type endpoint struct {
	id   int32
	host string
	port int32
	rack *string
}

// leader returns the leader and epoch to name for a partition, or -1 and -1.
func (h *leaderHints) leader(topic string, partition int32) (id, epoch int32) {
	id, epoch, ok := h.img.LeaderFor(topic, partition)
	if !ok || id < 0 {
		return -1, -1
	}
	if _, ok := endpointOf(h.img, id, h.listener); !ok {
		return -1, -1
	}
	if slices.Contains(h.named, id) {
		return id, epoch
	}
	h.named = append(h.named, id)
	return id, epoch
}

// endpoints returns the endpoints of the leaders that were named.
func (h *leaderHints) endpoints() []endpoint {
	var out []endpoint
	for _, id := range h.named {
		if e, ok := endpointOf(h.img, id, h.listener); ok {
			out = append(out, e)
		}
	}
	return out
}

// endpointOf returns how a client that came by listener reaches a broker: by the
// broker's listener of the same name. Brokers that are fenced are not reached.
func endpointOf(img *metadata.Image, id int32, listener string) (endpoint, bool) {
	b, ok := img.Broker(id)
	if !ok || b.Fenced {
		return endpoint{}, false
	}
	return endpointFor(b, listener)
}

func endpointFor(b *metadata.Broker, listener string) (endpoint, bool) {
	for _, l := range b.Listeners {
		if l.Name == listener {
			return endpoint{b.ID, l.Host, l.Port, rackOf(b)}, true
		}
	}
	return endpoint{}, false
}

func rackOf(b *metadata.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}

// notHere turns "this broker has no such partition" into what the client has to
// know: that it is led elsewhere, or that there is none.
func (a *API) notHere(t *metadata.Topic, partition int32, err error) error {
	if partition < 0 || int(partition) >= len(t.Partitions) {
		return protocol.Errorf(protocol.UnknownTopicOrPartition, "topic %q has %d partitions, no partition %d", t.Name, len(t.Partitions), partition)
	}
	if code := protocol.CodeOf(err); code == protocol.UnknownTopicOrPartition || code == protocol.UnknownTopicID {
		return protocol.Errorf(protocol.NotLeaderOrFollower, "partition %d of %q is not on broker %d", partition, t.Name, a.cfg.BrokerID)
	}
	return err
}
