package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// identity is a host's key and certificate, made as go-plugin makes them.
type identity struct {
	pem  []byte
	pair tls.Certificate
}

func newIdentity(curve elliptic.Curve) (identity, error) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return identity{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"HashiCorp"}},
		DNSNames:              []string{"localhost"},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		NotBefore:             time.Now().Add(-30 * time.Second),
		NotAfter:              time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return identity{}, err
	}
	return identity{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}, nil
}

// tls connects with the broker's kind of certificate, and with a stranger's. If
// the first fails it tries one of P-256 on a plugin of its own, to know whose fault
// it is.
func (e *examination) tls(ctx context.Context) (Finding, error) {
	err := connect(ctx, e.line, e.identity)
	switch {
	case err == nil:
		return e.strangers(ctx)
	case errors.Is(err, errNoSocket):
		return bad(checkSocket, "listen on it before the line is printed, and print its absolute path", "nobody listens where the line says: %v", err), nil
	case errors.Is(err, errNoHTTP2):
		return bad(checkTLS, "offer the protocol h2 by ALPN", "the TLS handshake succeeds, but the plugin does not choose HTTP/2"), nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return bad(checkTLS, "serve HTTP/2 on the connection: gRPC's server, with the socket behind TLS", "it says nothing: %v", err), nil
	}
	if p256, startErr := e.worksWithP256(ctx); startErr != nil {
		return Finding{}, startErr
	} else if p256 {
		return bad(checkTLS, "use a TLS stack with ecdsa_secp521r1_sha512: OpenSSL, Go, rustls with aws-lc-rs; not BoringSSL (PyPI's grpcio) and not rustls with ring",
			"the plugin's TLS stack refuses the broker's certificate, which is of P-521, and takes one of P-256"), nil
	}
	return bad(checkTLS, "require client certificates, and verify them against the one in PLUGIN_CLIENT_CERT only", "the TLS handshake fails: %v%s", err, e.running.lastWords()), nil
}

// strangers tries to get in with a certificate that the plugin was not told of.
func (e *examination) strangers(ctx context.Context) (Finding, error) {
	stranger, err := newIdentity(elliptic.P521())
	if err != nil {
		return Finding{}, err
	}
	if connect(ctx, e.line, stranger) == nil {
		return bad(checkTLS, "require client certificates, and verify them against the one in PLUGIN_CLIENT_CERT only",
			"it lets in whoever is not its broker"), nil
	}
	return good(checkTLS, "both sides accept each other, and nobody else; the broker's certificate is of P-521"), nil
}

func (e *examination) worksWithP256(ctx context.Context) (bool, error) {
	id, err := newIdentity(elliptic.P256())
	if err != nil {
		return false, err
	}
	p, err := startProcess(e.plugin, e.dir, &id)
	if err != nil {
		return false, err
	}
	text, _ := p.firstLine(e.plugin.Timeout)
	l, f := parseLine(text)
	works := f.OK && connect(ctx, l, id) == nil
	return works, p.kill()
}

var (
	errNoSocket = errors.New("no connection")
	errNoHTTP2  = errors.New("no HTTP/2")
)

// connect does TLS, and reads the first bytes that the plugin sends: a server of
// TLS 1.3 refuses a client's certificate only after the client's handshake.
func connect(ctx context.Context, l line, id identity) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AddCert(l.certificate)
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "unix", l.address)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSocket, err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		Certificates: []tls.Certificate{id.pair}, RootCAs: roots, ServerName: "localhost",
		NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		return errNoHTTP2
	}
	return greet(conn)
}

// greet sends the preface of HTTP/2 and empty settings, and waits for an answer.
func greet(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	settings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}
	if _, err := conn.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings...)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("after the handshake: %w", err)
	}
	return nil
}
