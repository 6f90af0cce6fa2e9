package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus/sdk"
	"github.com/quorate/quorate/plugins/solo"
)

// TestMain is the plugins of the test as well: what a script cannot be.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "solo" {
		sdk.Serve(solo.New())
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin" {
		code, err := servePlugin(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// servePlugin is a plugin as far as a doctor looks at it, with one fault, named
// as in the table of TestExamine.
func servePlugin(fault string) (code int, err error) {
	if os.Getenv(sdk.CookieKey) != sdk.CookieValue {
		return 78, errors.New("a broker starts this")
	}
	signal.Notify(make(chan os.Signal, 1), signalsNotFor(fault)...)
	id, err := pluginIdentity(fault)
	if err != nil {
		return 70, err
	}
	name := fmt.Sprint("p", os.Getpid())
	if fault == "long-name" {
		name = strings.Repeat("p", 100)
	}
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), name)
	if fault != "no-socket" && fault != "long-name" {
		listener, err := net.Listen("unix", path)
		if err != nil {
			return 70, err
		}
		go answer(tls.NewListener(listener, pluginTLS(fault, id)), fault)
	}
	fmt.Fprintf(os.Stdout, "1|1|unix|%s|grpc|%s\n", path, base64.RawStdEncoding.EncodeToString(id.Certificate[0]))
	if fault == "talks" {
		fmt.Fprintln(os.Stdout, "Welcome")
	}
	_, _ = io.Copy(io.Discard, os.NewFile(3, "host")) // until the broker is dead
	switch fault {
	case "orphan":
		select {}
	case "dies-badly":
		return 5, nil
	default:
		return 0, nil
	}
}

func signalsNotFor(fault string) []os.Signal {
	switch fault {
	case "sigterm":
		return []os.Signal{syscall.SIGINT}
	case "sigint":
		return []os.Signal{syscall.SIGTERM}
	default:
		return []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	}
}

func pluginIdentity(fault string) (tls.Certificate, error) {
	id, err := newIdentity(elliptic.P256())
	if err != nil || fault != "no-localhost" {
		return id.pair, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"elsewhere"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func pluginTLS(fault string, id tls.Certificate) *tls.Config {
	hosts := x509.NewCertPool()
	hosts.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT")))
	config := &tls.Config{Certificates: []tls.Certificate{id}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: hosts, NextProtos: []string{"h2"}}
	switch fault {
	case "no-alpn":
		config.NextProtos = nil
	case "takes-anybody":
		config.ClientAuth = tls.RequestClientCert
	case "takes-nobody":
		config.ClientCAs = x509.NewCertPool()
	case "p256": // a TLS stack that does not know P-521, as BoringSSL
		config.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
			if key, ok := chains[0][0].PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
				return errors.New("no such curve")
			}
			return nil
		}
	}
	return config
}

// answer sends something to whoever was let in, as a server of HTTP/2 does.
func answer(listener net.Listener, fault string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			_, err := conn.Read(make([]byte, 64))
			if fault != "mute" || err != nil {
				_, _ = conn.Write(make([]byte, 9)) // the doctor may be gone
				_ = conn.Close()
			}
		}()
	}
}
