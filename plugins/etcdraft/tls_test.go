package etcdraft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// identity makes certificates that one CA signs.
type identity struct {
	t   *testing.T
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

func newIdentity(t *testing.T) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{t, ca, key}
}

func (i *identity) issue(names ...string) *consensus.PeerTLS {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.ca, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	encode := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	return &consensus.PeerTLS{
		CA: encode("CERTIFICATE", i.ca.Raw), Cert: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", keyDER),
	}
}

func TestPeersVerifyEachOther(t *testing.T) {
	bound := func(settings *consensus.PeerTLS) *consensus.PeerTLS {
		settings.AllowedSANs = []string{"brokers"}
		return settings
	}
	ours, theirs := newIdentity(t), newIdentity(t)
	tests := []struct {
		name         string
		server, peer *consensus.PeerTLS
		ok           bool
	}{
		{"same ca", ours.issue("a"), ours.issue("b"), true},
		{"named for this replica", ours.issue("replica-1.test"), ours.issue("replica-2.test"), true},
		{"named for another replica", ours.issue("replica-1.test"), ours.issue("replica-3.test"), false},
		{"answers in another's name", ours.issue("replica-3.test"), ours.issue("replica-2.test"), false},
		{"bound, and both are who they say", bound(ours.issue("replica-1.test", "brokers")), bound(ours.issue("REPLICA-2.test", "brokers")), true},
		{"bound, a peer without a replica's name", bound(ours.issue("replica-1.test", "brokers")), ours.issue("brokers"), false},
		{"bound, a server without a replica's name", ours.issue("brokers"), bound(ours.issue("replica-2.test", "brokers")), false},
		{"bound, a peer of another cluster", bound(ours.issue("replica-1.test", "brokers")), ours.issue("replica-2.other", "brokers"), false},
		{"bound, a peer without an allowed name", bound(ours.issue("replica-1.test", "brokers")), ours.issue("replica-2.test"), false},
		{"another ca", ours.issue("a"), theirs.issue("b"), false},
		{"plaintext to tls", ours.issue("a"), nil, false},
		{"tls to plaintext", nil, ours.issue("b"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			open := func(id uint64, settings *consensus.PeerTLS) *transport {
				tr, err := newTransport(consensus.StartConfig{
					ClusterID: "test", ReplicaID: id, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0", TLS: settings},
				}, 64, &noHost{}, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				tr.start()
				t.Cleanup(tr.stop)
				return tr
			}
			server, client := open(1, tt.server), open(2, tt.peer)
			address := server.listener.Addr().String()
			p := newPeer(1, client)
			p.addresses.Store(&[]string{address})
			conn, err := client.dial(t.Context(), p, messageConn)
			if (err == nil) != tt.ok {
				t.Fatalf("dial: %v", err)
			}
			if err == nil {
				_ = conn.Close()
			}
		})
	}
}

// TestCertificatesAreReplacedUnderLoad moves a cluster to another CA.
func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	before, after := newIdentity(t), newIdentity(t)
	issue := func(i *identity, replica uint64, trust ...*identity) *consensus.PeerTLS {
		settings := i.issue(fmt.Sprintf("replica-%d.test", replica), "brokers")
		settings.AllowedSANs, settings.CA = []string{"brokers"}, nil
		for _, ca := range trust {
			settings.CA = append(settings.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.ca.Raw})...)
		}
		return settings
	}
	c := newBoundCluster(t, 3, func(replica uint64) *consensus.PeerTLS { return issue(before, replica, before) })
	c.openAll()
	load := startLoad(c)
	reload := func(settings func(replica uint64) *consensus.PeerTLS) {
		for i, b := range c.backends {
			if err := b.ReloadPeerTLS(*settings(uint64(i + 1))); err != nil {
				t.Fatal(err)
			}
		}
		c.tls = settings
	}
	reload(func(replica uint64) *consensus.PeerTLS { return issue(before, replica, before, after) })
	reload(func(replica uint64) *consensus.PeerTLS { return issue(after, replica, before, after) })
	reload(func(replica uint64) *consensus.PeerTLS { return issue(after, replica, after) })
	for i := range 3 {
		c.restart(i)
		load.see()
		c.awaitCaughtUp(i)
	}
	load.check(0)
	if err := c.backends[0].ReloadPeerTLS(consensus.PeerTLS{}); !errors.Is(err, consensus.ErrInvalidArgument) {
		t.Errorf("reload of nothing: %v", err)
	}
}
