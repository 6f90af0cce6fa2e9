package lab

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
	"os"
	"path/filepath"
	"time"
)

// certificates are a CA and one certificate per node, in files.
type certificates struct{ dir string }

func newCertificates(dir string, nodes int) (*certificates, error) {
	c := &certificates{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template(1, "lab CA")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	if err := c.write("ca", ca, ca, caKey, caKey); err != nil {
		return nil, err
	}
	for id := 1; id <= nodes; id++ {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		cert := template(int64(id)+1, fmt.Sprintf("node-%d", id))
		cert.DNSNames = []string{"localhost", fmt.Sprintf("replica-%d.lab", id)}
		cert.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if err := c.write(fmt.Sprintf("node-%d", id), cert, ca, key, caKey); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func (c *certificates) write(name string, cert, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.file(name, "pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(c.file(name, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)
}

func (c *certificates) file(name, ext string) string { return filepath.Join(c.dir, name+"."+ext) }

// section is a tls section of a config file.
func (c *certificates) section(id int) map[string]any {
	name := fmt.Sprintf("node-%d", id)
	return map[string]any{"ca": c.file("ca", "pem"), "cert": c.file(name, "pem"), "key": c.file(name, "key")}
}
