package peertls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns an identity with the names, valid until notAfter.
func (a authority) issue(t *testing.T, notAfter time.Time, names ...string) *consensus.PeerTLS {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "replica-9.common"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &consensus.PeerTLS{
		CA:   a.pem,
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// handshake connects both sides over a pipe, exchanges a byte each way, and
// returns each side's error.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		done <- exchange(tls.Server(conn, server))
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clientErr = exchange(tls.Client(conn, client))
	return <-done, clientErr
}

func exchange(c *tls.Conn) error {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestHandshake(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	allow := func(p *consensus.PeerTLS, names ...string) *consensus.PeerTLS {
		p.AllowedSANs = names
		return p
	}
	named := func(p *consensus.PeerTLS, name string) *consensus.PeerTLS {
		p.ServerName = name
		return p
	}
	tests := []struct {
		name           string
		server, client *consensus.PeerTLS
		wantServer     string // in the server's error; "" = none
		wantClient     string
	}{{
		name:   "both from the same ca",
		server: ca.issue(t, later, "127.0.0.1"), client: ca.issue(t, later, "127.0.0.1"),
	}, {
		name:   "a server name instead of the address",
		server: ca.issue(t, later, "brokers"), client: named(ca.issue(t, later, "brokers"), "brokers"),
	}, {
		name:   "the server's name is another",
		server: ca.issue(t, later, "elsewhere"), client: ca.issue(t, later, "127.0.0.1"),
		wantServer: "bad certificate", wantClient: "127.0.0.1",
	}, {
		name:   "the client is from another ca",
		server: ca.issue(t, later, "127.0.0.1"), client: &consensus.PeerTLS{},
		wantServer: "unknown authority", wantClient: "unknown certificate authority",
	}, {
		name:   "the server is from another ca",
		server: other.issue(t, later, "127.0.0.1"), client: ca.issue(t, later, "127.0.0.1"),
		wantServer: "bad certificate", wantClient: "unknown authority",
	}, {
		name:   "the client's certificate has expired",
		server: ca.issue(t, later, "127.0.0.1"), client: ca.issue(t, before, "127.0.0.1"),
		wantServer: "expired", wantClient: "expired",
	}, {
		name:   "allowed names on both sides",
		server: allow(ca.issue(t, later, "127.0.0.1", "replica-1.c"), "replica-2.c", "replica-1.c"),
		client: allow(ca.issue(t, later, "replica-2.c"), "REPLICA-1.c"),
	}, {
		name:   "the client's name is not allowed",
		server: allow(ca.issue(t, later, "127.0.0.1"), "replica-1.c"), client: ca.issue(t, later, "replica-9.c"),
		wantServer: ErrNameNotAllowed.Error(), wantClient: "bad certificate",
	}, {
		name:   "the server's name is not allowed",
		server: ca.issue(t, later, "127.0.0.1", "replica-9.c"), client: allow(ca.issue(t, later, "127.0.0.1"), "replica-1.c"),
		wantServer: "bad certificate", wantClient: ErrNameNotAllowed.Error(),
	}, {
		name:   "a common name is not a name",
		server: allow(ca.issue(t, later, "127.0.0.1"), "replica-9.common"), client: ca.issue(t, later, "x"),
		wantServer: ErrNameNotAllowed.Error(), wantClient: "bad certificate",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.client.CA) == 0 { // trusts the server, but shows a foreign certificate
				tt.client = other.issue(t, later, "127.0.0.1")
				tt.client.CA = ca.pem
			}
			server, err := Server(tt.server)
			if err != nil {
				t.Fatal(err)
			}
			client, err := Client(tt.client, "127.0.0.1:9193")
			if err != nil {
				t.Fatal(err)
			}
			serverErr, clientErr := handshake(t, server, client)
			wantError(t, "server", serverErr, tt.wantServer)
			wantError(t, "client", clientErr, tt.wantClient)
		})
	}
}

func wantError(t *testing.T, side string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", side, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want it to say %q", side, err, want)
	}
}

func TestRefusesPlaintextAndOldVersions(t *testing.T) {
	ca := newAuthority(t)
	id := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	server, err := Server(id)
	if err != nil {
		t.Fatal(err)
	}
	client, err := Client(id, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	old := client.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	anonymous := client.Clone()
	anonymous.Certificates = nil
	for name, c := range map[string]*tls.Config{"tls 1.2": old, "no certificate": anonymous} {
		if serverErr, _ := handshake(t, server, c); serverErr == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBadMaterial(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue(t, time.Now().Add(time.Hour), "a")
	tests := []struct {
		name    string
		tls     *consensus.PeerTLS
		address string
		want    string
	}{
		{"nothing", nil, "a:1", "no certificates were given"},
		{"no key", &consensus.PeerTLS{CA: good.CA, Cert: good.Cert}, "a:1", "certificate and key"},
		{"no ca", &consensus.PeerTLS{Cert: good.Cert, Key: good.Key}, "a:1", "ca holds no PEM"},
		{"no port", good, "a", "address to dial"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Client(tt.tls, tt.address)
			wantError(t, "client", err, tt.want)
		})
	}
}
