package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// tlsFlags are the flags of every command that dials: where the other side's
// certificate must come from, and what this side shows.
type tlsFlags struct {
	on, insecure              bool
	ca, cert, key, serverName string
}

// The environment variables of the flags of the same names.
const (
	tlsVariable           = "QUORATE_TLS"
	tlsCAVariable         = "QUORATE_TLS_CA"
	tlsCertVariable       = "QUORATE_TLS_CERT"
	tlsKeyVariable        = "QUORATE_TLS_KEY"
	tlsServerNameVariable = "QUORATE_TLS_SERVER_NAME"
)

func (f *tlsFlags) register(cmd *cobra.Command) {
	on := os.Getenv(tlsVariable)
	flags := cmd.PersistentFlags()
	flags.BoolVar(&f.on, "tls", on != "" && on != "false" && on != "0", "use TLS; every other --tls flag means it too (environment: "+tlsVariable+", and so on)")
	flags.StringVar(&f.ca, "tls-ca", os.Getenv(tlsCAVariable), "PEM `file` of the authorities to trust; without it, the system's")
	flags.StringVar(&f.cert, "tls-cert", os.Getenv(tlsCertVariable), "PEM `file` of the certificate to show")
	flags.StringVar(&f.key, "tls-key", os.Getenv(tlsKeyVariable), "PEM `file` of its key")
	flags.StringVar(&f.serverName, "tls-server-name", os.Getenv(tlsServerNameVariable), "the `name` that the other side's certificate must have; without it, the host that is dialed")
	flags.BoolVar(&f.insecure, "tls-insecure-skip-verify", false, "trust any certificate: for tests only")
}

// config returns nil if TLS is not asked for.
func (f *tlsFlags) config() (*tls.Config, error) {
	if !f.on && !f.insecure && f.ca == "" && f.cert == "" && f.key == "" && f.serverName == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName, InsecureSkipVerify: f.insecure} //nolint:gosec // it is what the flag says
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, usagef("--tls-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--tls-ca: %s holds no PEM certificate", f.ca)
		}
	}
	if f.cert == "" && f.key == "" {
		return c, nil
	}
	if f.cert == "" || f.key == "" {
		return nil, usagef("--tls-cert and --tls-key go together")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, usagef("--tls-cert %s and --tls-key %s: %w", f.cert, f.key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// tlsReason says what is wrong with a handshake, and which flag helps; "" if err is
// no such failure.
func tlsReason(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is signed by an unknown authority: name it with --tls-ca"
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("its certificate is not for %s: say for whom it is with --tls-server-name", name.Host)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "its certificate is not valid: " + invalid.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS: leave the --tls flags out"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // crypto/tls, for an alert
		if strings.Contains(op.Err.Error(), "certificate required") {
			return "it wants a certificate: show one with --tls-cert and --tls-key"
		}
		return "it refused the handshake: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}
