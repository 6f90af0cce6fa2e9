package etcdraft

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
)

// dial connects to p and says hello.
func (t *transport) dial(ctx context.Context, p *peer, kind connKind) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := p.nextAddress()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		p.failedAddress(address)
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	secured, err := t.greet(ctx, conn, p.id, address, kind)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		p.failedAddress(address)
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return secured, nil
}

func (t *transport) greet(ctx context.Context, conn net.Conn, to uint64, address string, kind connKind) (net.Conn, error) {
	if settings := t.tls.Load(); settings != nil {
		cfg, err := peertls.Client(settings, address)
		if err != nil {
			return nil, err
		}
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		if err := t.checkCertificate(secured, to, len(settings.AllowedSANs) > 0); err != nil {
			return nil, err
		}
		conn = secured
	}
	if err := writeHello(conn, hello{kind: kind, from: t.self, to: to, cluster: t.cluster, address: t.advertise}); err != nil {
		return nil, err
	}
	return conn, readAnswer(conn, to)
}

// checkCertificate refuses a peer whose certificate is made out for replicas of
// this cluster (replica-<id>.<cluster id>), but not for this one. With bound set
// it must be made out for this one: where names are checked at all, a replica
// must not be able to pass for another.
func (t *transport) checkCertificate(conn *tls.Conn, replica uint64, bound bool) error {
	certificates := conn.ConnectionState().PeerCertificates
	if len(certificates) == 0 {
		return errors.New("the peer showed no certificate")
	}
	want, named := strings.ToLower(fmt.Sprintf("replica-%d.%s", replica, consensus.ClusterName(t.cluster))), false
	for _, name := range certificates[0].DNSNames {
		name = strings.ToLower(name)
		if name == want {
			return nil
		}
		named = named || strings.HasPrefix(name, "replica-")
	}
	if named || bound {
		return fmt.Errorf("the certificate is not replica %d's: it holds %q, want %q", replica, certificates[0].DNSNames, want)
	}
	return nil
}
