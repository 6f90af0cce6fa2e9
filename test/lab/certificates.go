package lab

import (
	"bytes"
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
	"path/filepath"
	"time"
)

// Certificates are an authority and certificates that it signed, in files: ca.pem,
// and NAME.pem and NAME.key for each.
type Certificates struct {
	dir string
	// authorities are those in ca.pem, the newest first; it signs.
	authorities []authority
	serial      int64
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCertificates makes an authority in dir.
func NewCertificates(dir string) (*Certificates, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &Certificates{dir: dir}
	return c, c.AddAuthority()
}

func newCertificates(dir string, nodes int) (*Certificates, error) {
	c, err := NewCertificates(dir)
	for id := 1; id <= nodes && err == nil; id++ {
		err = c.Issue(nodeName(id), replicaName(id))
	}
	return c, err
}

func nodeName(id int) string { return fmt.Sprintf("node-%d", id) }

func replicaName(id int) string { return fmt.Sprintf("replica-%d.lab", id) }

// AddAuthority makes a new authority, which signs from now on. The ones before it are
// trusted until DropAuthorities.
func (c *Certificates) AddAuthority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := c.template("lab CA")
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	c.authorities = append([]authority{{cert, key}}, c.authorities...)
	return c.writeAuthorities()
}

// DropAuthorities trusts the newest authority only.
func (c *Certificates) DropAuthorities() error {
	c.authorities = c.authorities[:1]
	return c.writeAuthorities()
}

func (c *Certificates) writeAuthorities() error {
	var all bytes.Buffer
	for _, a := range c.authorities {
		if err := pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}); err != nil {
			return err
		}
	}
	return replaceFile(c.CA(), all.Bytes())
}

// Issue makes a certificate for a host on loopback, with the names, good for dialing
// and for being dialed. Files of that name are replaced.
func (c *Certificates) Issue(name string, names ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := c.template(name)
	tmpl.DNSNames = append([]string{"localhost"}, names...)
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	by := c.authorities[0]
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		replaceFile(c.Key(name), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		replaceFile(c.Cert(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (c *Certificates) template(name string) *x509.Certificate {
	c.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(c.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// replaceFile renames the content into its place, as careful tools do.
func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// CA is the path of the authorities.
func (c *Certificates) CA() string { return filepath.Join(c.dir, "ca.pem") }

// Cert is the path of a certificate.
func (c *Certificates) Cert(name string) string { return filepath.Join(c.dir, name+".pem") }

// Key is the path of a certificate's key.
func (c *Certificates) Key(name string) string { return filepath.Join(c.dir, name+".key") }

// section is a tls section of a config file.
func (c *Certificates) section(id int) map[string]any {
	name := nodeName(id)
	return map[string]any{"ca": c.CA(), "cert": c.Cert(name), "key": c.Key(name)}
}

// Certificates are those of a cluster with ClusterTLS.
func (c *Cluster) Certificates() *Certificates { return c.certs }

// Renew issues every node's certificate again.
func (c *Cluster) Renew() error {
	for _, n := range c.Nodes() {
		if err := c.certs.Issue(nodeName(n.ID), replicaName(n.ID)); err != nil {
			return err
		}
	}
	return nil
}

// Shown returns the certificate that a listener shows to somebody with the
// certificate of the given name.
func (c *Certificates) Shown(address, as string) (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert(as), c.Key(as))
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	// What is shown is the question, whoever signed it.
	conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, //nolint:gosec // see above
	})
	if err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], conn.Close()
}

// SignedByNewest says whether the newest authority signed a certificate.
func (c *Certificates) SignedByNewest(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(c.authorities[0].cert) == nil
}

// refusal is how long a listener may take to hang up: it judges a certificate after the
// client's side of the handshake is over.
const refusal = 30 * time.Second

// Refused reports whether a listener hangs up on the certificate of the given name.
func (c *Certificates) Refused(address, as string) (bool, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert(as), c.Key(as))
	if err != nil {
		return false, err
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, //nolint:gosec // the other side is the question
	})
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // the answer is known by then
	if err := conn.SetReadDeadline(time.Now().Add(refusal)); err != nil {
		return false, err
	}
	_, err = conn.Read(make([]byte, 1))
	_, refused := errors.AsType[tls.AlertError](err)
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		refused = true
	}
	return refused, nil
}
