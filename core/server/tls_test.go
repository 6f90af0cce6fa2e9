package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testCertificate returns a self-signed certificate for 127.0.0.1 and a pool with it.
func testCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tester"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certificate, pool := testCertificate(t)
	h := start(t, func(c *Config) {
		c.Listeners[0].TLS = &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13,
			ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		}
	})
	secure := tls.Client(h.dial(t, "clients"), &tls.Config{
		RootCAs: pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13,
	})
	c := &client{secure, t}
	c.send(request(1, &kmsg.MetadataRequest{}, 9))
	if id, _ := c.answer(); id != 1 {
		t.Errorf("got answer %d, want 1", id)
	}
	if s := <-h.handler.seen; s.Principal != "CN=tester" {
		t.Errorf("got principal %q, want the subject of the certificate", s.Principal)
	}

	plain := h.dial(t, "clients")
	plain.send(request(2, &kmsg.MetadataRequest{}, 9))
	plain.readAll()
	h.stop()
	if !strings.Contains(h.log.String(), "TLS handshake failed") {
		t.Errorf("got log %q, want the failed handshake", h.log)
	}
}

// readAll reads until the server hangs up; what comes is of no interest.
func (c *client) readAll() {
	c.t.Helper()
	for buffer := make([]byte, 512); ; {
		if _, err := c.Read(buffer); err != nil {
			return
		}
	}
}

// A client that connects and says nothing does not hold a handshake open.
func TestSilentHandshake(t *testing.T) {
	t.Parallel()
	certificate, _ := testCertificate(t)
	h := start(t, func(c *Config) {
		c.HandshakeTimeout = 30 * time.Millisecond
		c.Listeners[0].TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	})
	h.dial(t, "clients").readAll()
}
