// Package peertls makes the TLS configurations that consensus backends use
// among themselves: TLS 1.3 only, both sides verified against the same CA, and
// both sides' names checked if names were configured.
//
// A certificate is used to dial and to answer, so it needs both extended key
// usages, client and server authentication.
package peertls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/quorate/quorate/consensus"
)

// ErrNameNotAllowed is in the error of a handshake with a peer whose certificate
// the CA signed, but holds none of the allowed names.
var ErrNameNotAllowed = errors.New("the peer's certificate holds none of the allowed names")

// Server returns the configuration to accept peers with. A peer must show a
// certificate of t.CA which holds one of t.AllowedSANs, if there are any.
func Server(t *consensus.PeerTLS) (*tls.Config, error) {
	c, pool, err := base(t)
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool
	return c, nil
}

// Client returns the configuration to dial the peer at address (host:port)
// with. The peer must show a certificate of t.CA for t.ServerName, or for
// address's host if that is empty, which holds one of t.AllowedSANs, if there
// are any.
func Client(t *consensus.PeerTLS, address string) (*tls.Config, error) {
	c, pool, err := base(t)
	if err != nil {
		return nil, err
	}
	c.RootCAs, c.ServerName = pool, t.ServerName
	if c.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("peer tls: address to dial: %w", err)
		}
		c.ServerName = host
	}
	return c, nil
}

func base(t *consensus.PeerTLS) (*tls.Config, *x509.CertPool, error) {
	if t == nil {
		return nil, nil, errors.New("peer tls: no certificates were given")
	}
	pair, err := tls.X509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("peer tls: certificate and key: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(t.CA) {
		return nil, nil, errors.New("peer tls: the ca holds no PEM certificate")
	}
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		Certificates:     []tls.Certificate{pair},
		VerifyConnection: verifier(t.AllowedSANs),
	}, pool, nil
}

// verifier checks names in VerifyConnection, which unlike VerifyPeerCertificate
// also runs when a session is resumed.
func verifier(allowed []string) func(tls.ConnectionState) error {
	if len(allowed) == 0 {
		return nil
	}
	allowed = slices.Clone(allowed)
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("peer tls: the peer showed no certificate")
		}
		names := sans(s.PeerCertificates[0])
		for _, want := range allowed {
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, want) }) {
				return nil
			}
		}
		return fmt.Errorf("peer tls: %w: it holds %q", ErrNameNotAllowed, names)
	}
}

// sans returns every subject alternative name of c in text; the common name
// does not count.
func sans(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}
