package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// ClusterListener is the name under which a registration lists the listener for
// brokers. No listener for clients may have it.
const ClusterListener = "cluster"

// registerBroker answers BrokerRegistration (key 62, KIP-631).
//
// Every registration begins fenced, with a new epoch. What the broker's former
// process led is led by others in the same batch, or by nobody: if it comes back
// to lead, that is a new leader epoch, even if it is the only replica. A process
// that repeats its registration gets the same epoch again.
//
// A broker that comes with another disk has none of the records that it had: it
// leaves every ISR first (see lost_disk.go). Why a registration is refused is said
// in a tag of the answer, for the log of the one who asked.
func (r *round) registerBroker(req *kmsg.BrokerRegistrationRequest) decision {
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.BrokerEpoch = -1
	rec, known, err := r.registration(req)
	if err == nil && !known {
		err = r.forgetLostDisk(rec)
	}
	switch {
	case err != nil:
		code, message := result(err)
		resp.ErrorCode = code
		if message != nil {
			resp.UnknownTags.Set(reasonTag, []byte(*message))
		}
		r.t.c.log.Debug("registration refused", "broker", req.BrokerID, "error", err)
		return decision{resp: resp}
	case known:
		resp.BrokerEpoch = rec.Epoch
		return decision{resp: resp}
	}
	if err := r.commit(rec); err != nil {
		resp.ErrorCode, _ = result(err)
		return decision{resp: resp}
	}
	r.repairAll()
	r.t.live.hear(rec.ID, r.now)
	resp.BrokerEpoch = rec.Epoch
	r.t.c.log.Info("broker registered", "broker", rec.ID, "epoch", rec.Epoch, "incarnation", rec.Incarnation.String(), "replica", rec.Replica)
	return decision{resp: resp, visible: func(index uint64) { r.t.registered[rec.ID] = index }}
}

// registration returns the record of a registration, and whether it stands
// already.
func (r *round) registration(req *kmsg.BrokerRegistrationRequest) (rec metadata.RegisterBrokerRecord, known bool, err error) {
	rec = registrationRecord(req, r.delta.NextBrokerEpoch())
	switch {
	case req.ClusterID != r.cfg.ClusterID:
		return rec, false, protocol.Errorf(protocol.InconsistentClusterID, "broker %d belongs to cluster %q, this is %q", req.BrokerID, req.ClusterID, r.cfg.ClusterID)
	case req.BrokerID < 0 || rec.Incarnation == metadata.UUID{}:
		return rec, false, protocol.Errorf(protocol.InvalidRegistration, "broker id %d, incarnation %s", req.BrokerID, rec.Incarnation)
	}
	b, ok := r.delta.Broker(rec.ID)
	if !ok {
		return rec, false, nil
	}
	if rec.Replica != 0 && rec.Replica < b.Replica {
		return rec, false, protocol.Errorf(protocol.InvalidVoterKey, "this data directory is that of replica %d; broker %d has been replaced by replica %d since: start it with its newer data directory, or with an empty one and cluster/join: true", rec.Replica, rec.ID, b.Replica)
	}
	if b.Incarnation == rec.Incarnation {
		rec.Epoch = b.Epoch
		known = b.Rack == rec.Rack && b.Cluster == rec.Cluster && b.Replica == rec.Replica && slices.Equal(b.Listeners, rec.Listeners)
		if !known {
			rec.Epoch = r.delta.NextBrokerEpoch()
		}
		return rec, known, nil
	}
	if b.Fenced {
		return rec, false, nil
	}
	if !r.ownLastLife(rec) && r.t.live.silence(b.ID, r.now) < r.cfg.ProbeAfter {
		return rec, false, protocol.Errorf(protocol.DuplicateBrokerRegistration, "another process is broker %d and alive, incarnation %s", b.ID, b.Incarnation)
	}
	if other, ok := r.unheard(b.ID); ok {
		return rec, false, protocol.Errorf(protocol.DuplicateBrokerRegistration, "broker %d was registered by another process, and broker %d has not been heard of yet: it is decided first whether that one is alive", b.ID, other)
	}
	return rec, false, nil
}

// ownLastLife tells whether a registration is that of the controller's own process,
// and nothing was heard of another one in this term. Then what is registered is an
// earlier life of this broker, which has ended: this process has the lock of its data
// directory. Nobody waits for its session to end.
func (r *round) ownLastLife(rec metadata.RegisterBrokerRecord) bool {
	return rec.ID == r.cfg.BrokerID && rec.Incarnation == r.cfg.Incarnation && !r.t.live.heard(rec.ID)
}

// unheard returns another broker of which nobody knows yet in this term if it is alive.
// A broker that registers again leaves its ISRs, and those that are dead must leave them
// first: else the last in an ISR may be one that never comes back.
func (r *round) unheard(id int32) (other int32, ok bool) {
	for b := range r.delta.Brokers() {
		if b.ID != id && !b.Fenced && !r.t.live.heard(b.ID) && !r.t.live.expired(b.ID, r.now) {
			return b.ID, true
		}
	}
	return 0, false
}

func registrationRecord(req *kmsg.BrokerRegistrationRequest, epoch int64) metadata.RegisterBrokerRecord {
	rec := metadata.RegisterBrokerRecord{ID: req.BrokerID, Epoch: epoch, Incarnation: req.IncarnationID, Fenced: true}
	if len(req.LogDirs) > 0 {
		rec.Replica, _ = protocol.ReplicaOfDirectory(req.LogDirs[0])
	}
	if req.Rack != nil {
		rec.Rack = *req.Rack
	}
	for _, l := range req.Listeners {
		e := metadata.Endpoint{Name: l.Name, Host: l.Host, Port: int32(l.Port), Security: securityName(l.SecurityProtocol)}
		if l.Name == ClusterListener {
			rec.Cluster = e
			continue
		}
		rec.Listeners = append(rec.Listeners, e)
	}
	return rec
}

// Kafka's numbers of security protocols.
const (
	securityPlaintext int16 = 0
	securitySSL       int16 = 1
)

func securityName(number int16) string {
	if number == securitySSL {
		return "SSL"
	}
	return "PLAINTEXT"
}

func securityNumber(name string) int16 {
	if name == "SSL" {
		return securitySSL
	}
	return securityPlaintext
}
