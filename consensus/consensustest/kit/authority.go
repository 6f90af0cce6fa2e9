package kit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/quorate/quorate/consensus"
)

// peerName is what the certificates of peers must be for, besides 127.0.0.1.
const peerName = "brokers.kit.quorate"

// authority signs certificates of replicas.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key, next: 2}, err
}

// pem is the authority's own certificate.
func (a *authority) pem() []byte { return encodePEM("CERTIFICATE", a.cert.Raw) }

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// subject is whose certificate is signed, and for how long.
type subject struct {
	names  []string
	ips    []net.IP
	begins time.Time
	ends   time.Time
}

// replicaSubject is a replica as its peers should find it.
func replicaSubject(cluster string, id uint64) subject {
	return subject{
		names: []string{peerName, fmt.Sprintf("replica-%d.%s", id, cluster)}, ips: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		begins: time.Now().Add(-time.Hour), ends: time.Now().Add(24 * time.Hour),
	}
}

// issue signs a certificate; trusted are the authorities that its owner believes.
func (a *authority) issue(s subject, trusted ...*authority) (*consensus.PeerTLS, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: "replica"}, DNSNames: s.names, IPAddresses: s.ips,
		NotBefore: s.begins, NotAfter: s.ends, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	a.next++
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	t := &consensus.PeerTLS{Cert: encodePEM("CERTIFICATE", der), Key: encodePEM("PRIVATE KEY", keyDER), AllowedSANs: []string{peerName}}
	for _, other := range trusted {
		t.CA = append(t.CA, other.pem()...)
	}
	return t, nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("no PEM block in %d bytes", len(data))
	}
	return x509.ParseCertificate(block.Bytes)
}
