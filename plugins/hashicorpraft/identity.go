package hashicorpraft

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
)

// identity is what this replica shows its peers, and asks of them.
type identity struct {
	peer   consensus.PeerTLS
	server *tls.Config
}

// reload takes an identity for the connections to come.
func (s *streams) reload(peer consensus.PeerTLS) error {
	peer.CA, peer.Cert, peer.Key = slices.Clone(peer.CA), slices.Clone(peer.Cert), slices.Clone(peer.Key)
	peer.AllowedSANs = slices.Clone(peer.AllowedSANs)
	server, err := peertls.Server(&peer)
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrInvalidArgument, err)
	}
	s.identity.Store(&identity{peer: peer, server: server})
	return nil
}

// client returns the configuration to dial address with, which should be of
// replica; NoLeader if that is not known.
func (i *identity) client(address, cluster string, replica uint64) (*tls.Config, error) {
	cfg, err := peertls.Client(&i.peer, address)
	if err != nil || replica == consensus.NoLeader {
		return cfg, err
	}
	names := cfg.VerifyConnection
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if names != nil {
			if err := names(state); err != nil {
				return err
			}
		}
		return i.checkOwner(state, cluster, replica)
	}
	return cfg, nil
}

// secure makes the handshake on a connection that was dialled, and closes it if
// that fails.
func (i *identity) secure(ctx context.Context, conn net.Conn, address, cluster string, replica uint64) (net.Conn, error) {
	cfg, err := i.client(address, cluster, replica)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// checkOwner refuses the certificate of another replica. One that names replicas
// of this cluster, as replica-<id>.<cluster>, must name this one. Others may be
// anybody's, unless names were configured: then there must be this one, too.
func (i *identity) checkOwner(state tls.ConnectionState, cluster string, replica uint64) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("it showed no certificate")
	}
	want := fmt.Sprintf("replica-%d.%s", replica, cluster)
	named := len(i.peer.AllowedSANs) > 0
	for _, name := range state.PeerCertificates[0].DNSNames {
		if strings.EqualFold(name, want) {
			return nil
		}
		id, of, _ := strings.Cut(strings.ToLower(name), ".")
		named = named || strings.HasPrefix(id, "replica-") && strings.EqualFold(of, cluster)
	}
	if named {
		return fmt.Errorf("replica %d showed a certificate without %q: it has %q", replica, want, state.PeerCertificates[0].DNSNames)
	}
	return nil
}
