package hashicorpraft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

// selfSigned is a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T) *consensus.PeerTLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &consensus.PeerTLS{CA: cert, Cert: cert, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
}

func TestClusterOverTLS(t *testing.T) {
	t.Parallel()
	consensustest.Run(t, consensustest.Config{New: New, PeerTLS: selfSigned(t), Only: "a follower gets the snapshot"})
}

func TestPlaintextIsRefusedWhereTLSIsAsked(t *testing.T) {
	s := listenWith(t, consensus.StartConfig{ClusterID: "c", Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0", TLS: selfSigned(t)}})
	conn := dial(t, listenFor(t, "c"), s)
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("closed with %v", err)
	}
	if err := s.streams.Close(); err != nil { // nobody was handed over, so nothing is left to accept
		t.Fatal(err)
	}
	select {
	case <-s.accepted:
		t.Fatal("plaintext was accepted")
	default:
	}
}
