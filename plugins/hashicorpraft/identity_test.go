package hashicorpraft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) issue(names ...string) *consensus.PeerTLS {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &consensus.PeerTLS{
		CA:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}),
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func allow(who *consensus.PeerTLS, names ...string) *consensus.PeerTLS {
	who.AllowedSANs = names
	return who
}

func listenAs(t *testing.T, replica uint64, who *consensus.PeerTLS) *layer {
	t.Helper()
	return listenWith(t, consensus.StartConfig{ClusterID: "c", ReplicaID: replica, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0", TLS: who}})
}

// connects tells whether from and to come to an understanding. from knows to as
// replica 2.
func connects(t *testing.T, from, to *layer) bool {
	t.Helper()
	from.owner = func(raft.ServerAddress) uint64 { return 2 }
	conn, err := from.Dial(raft.ServerAddress(to.Addr().String()), 20*time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // it was good for one byte
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		select {
		case in := <-to.accepted:
			_, _ = io.CopyN(in, in, 1) // if it fails, so does the read below
		case <-t.Context().Done():
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err == nil
}

func TestCertificateOfAnotherReplica(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	two := ca.issue("replica-2.c")
	tests := []struct {
		name     string
		from, to *consensus.PeerTLS
		want     bool
	}{
		{"its own", ca.issue("replica-1.c"), two, true},
		{"nobody's", ca.issue("brokers"), ca.issue("brokers"), true},
		{"another cluster's", ca.issue("replica-9.d"), two, true},
		{"two names", ca.issue("replica-9.c", "replica-1.c"), two, true},
		{"the dialler's is another's", ca.issue("replica-3.c"), two, false},
		{"the listener's is another's", ca.issue("replica-1.c"), ca.issue("replica-3.c"), false},
		{"names configured, and none of a replica", allow(ca.issue("brokers"), "brokers"), allow(ca.issue("brokers"), "brokers"), false},
		{"names configured", allow(ca.issue("brokers", "replica-1.c"), "brokers"), allow(ca.issue("brokers", "replica-2.c"), "brokers"), true},
		{"another authority's", newAuthority(t).issue("replica-1.c"), two, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := connects(t, listenAs(t, 1, tt.from), listenAs(t, 2, tt.to)); got != tt.want {
				t.Errorf("connected: %t, want %t", got, tt.want)
			}
		})
	}
}

// New certificates count for new connections, and bad ones change nothing.
func TestReloadPeerTLS(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	from, to := listenAs(t, 1, before.issue("replica-1.c")), listenAs(t, 2, before.issue("replica-2.c"))
	if !connects(t, from, to) {
		t.Fatal("not connected in the first place")
	}
	if err := to.reload(consensus.PeerTLS{CA: []byte("x")}); err == nil {
		t.Error("nonsense was taken")
	}
	if !connects(t, from, to) {
		t.Error("not connected after nonsense was refused")
	}
	if err := to.reload(*after.issue("replica-2.c")); err != nil {
		t.Fatal(err)
	}
	if connects(t, from, to) {
		t.Error("connected with the old authority's certificate")
	}
	if err := from.reload(*after.issue("replica-1.c")); err != nil {
		t.Fatal(err)
	}
	if !connects(t, from, to) {
		t.Error("not connected with new certificates on both sides")
	}
}
