package wire

import (
	"crypto/tls"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// StartToProto translates a start. Durations are rounded up to milliseconds.
func StartToProto(c consensus.StartConfig) *consensuspb.StartRequest {
	return &consensuspb.StartRequest{
		ClusterId:     c.ClusterID,
		ReplicaId:     c.ReplicaID,
		BrokerId:      c.BrokerID,
		DataDir:       c.DataDir,
		BackendConfig: c.Options,
		HostSessionId: c.SessionID,
		HostLeaseMs:   Millis(c.HostLease),
		Required:      CapabilitiesToProto(c.Required),
		Timing: &consensuspb.Timing{
			HeartbeatMs:       Millis(c.Timing.Heartbeat),
			ElectionTimeoutMs: Millis(c.Timing.ElectionTimeout),
			LeaderLeaseMs:     Millis(c.Timing.LeaderLease),
		},
		Peer: &consensuspb.PeerEndpoint{
			ListenAddress:    c.Peer.Listen,
			AdvertiseAddress: c.Peer.Advertise,
			Tls:              PeerTLSToProto(c.Peer.TLS),
		},
	}
}

// StartFromProto is the reverse of StartToProto.
func StartFromProto(p *consensuspb.StartRequest) consensus.StartConfig {
	return consensus.StartConfig{
		ClusterID: p.GetClusterId(),
		ReplicaID: p.GetReplicaId(),
		BrokerID:  p.GetBrokerId(),
		DataDir:   p.GetDataDir(),
		Options:   p.GetBackendConfig(),
		SessionID: p.GetHostSessionId(),
		HostLease: Duration(p.GetHostLeaseMs()),
		Required:  CapabilitiesFromProto(p.GetRequired()),
		Timing: consensus.Timing{
			Heartbeat:       Duration(p.GetTiming().GetHeartbeatMs()),
			ElectionTimeout: Duration(p.GetTiming().GetElectionTimeoutMs()),
			LeaderLease:     Duration(p.GetTiming().GetLeaderLeaseMs()),
		},
		Peer: consensus.PeerEndpoint{
			Listen:    p.GetPeer().GetListenAddress(),
			Advertise: p.GetPeer().GetAdvertiseAddress(),
			TLS:       PeerTLSFromProto(p.GetPeer().GetTls()),
		},
	}
}

// PeerTLSToProto translates a replica's identity; nil is plaintext.
func PeerTLSToProto(t *consensus.PeerTLS) *consensuspb.PeerTLS {
	if t == nil {
		return nil
	}
	return &consensuspb.PeerTLS{
		CaPem: t.CA, CertPem: t.Cert, KeyPem: t.Key,
		ServerName: t.ServerName, AllowedSans: t.AllowedSANs, MinVersion: tls.VersionTLS13,
	}
}

// PeerTLSFromProto is the reverse of PeerTLSToProto.
func PeerTLSFromProto(p *consensuspb.PeerTLS) *consensus.PeerTLS {
	if p == nil {
		return nil
	}
	return &consensus.PeerTLS{
		CA: p.GetCaPem(), Cert: p.GetCertPem(), Key: p.GetKeyPem(),
		ServerName: p.GetServerName(), AllowedSANs: p.GetAllowedSans(),
	}
}

// Millis rounds d up to milliseconds, so that what is not zero stays so.
// Negative durations give 0, those over 49 days the most that fits.
func Millis(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	ms := (d-1)/time.Millisecond + 1
	return uint32(min(ms, 1<<32-1))
}

// Duration is the reverse of Millis.
func Duration(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }
