package doctor

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/quorate/quorate/consensus/sdk"
)

const (
	cookieKey   = sdk.CookieKey
	cookieValue = sdk.CookieValue

	// maxSocketPath is what a socket's address can hold.
	maxSocketPath = 107
	// coreProtocol is go-plugin's own version.
	coreProtocol = "1"
)

// line is what a plugin says on stdout: CORE|MAJOR|unix|PATH|grpc|CERTIFICATE.
type line struct {
	address     string
	certificate *x509.Certificate
}

// parseLine judges the first line that a plugin prints.
func parseLine(text string) (line, Finding) {
	fields := strings.Split(strings.TrimSpace(text), "|")
	major := strconv.Itoa(sdk.ProtocolVersion)
	wrong := func(fix, format string, args ...any) (line, Finding) {
		return line{}, bad(checkHandshake, fix, format, args...)
	}
	switch {
	case len(fields) < 5:
		return wrong("print nothing on stdout but the handshake line; what is for people belongs on stderr",
			"the first line on stdout is %q, which is no handshake", shorten(text))
	case fields[0] != coreProtocol:
		return wrong("the first field is go-plugin's own version, "+coreProtocol, "the first field is %q", fields[0])
	case fields[1] != major:
		return wrong("choose one of PLUGIN_PROTOCOL_VERSIONS; this broker speaks "+major, "the plugin speaks version %s of the contract, the broker %s", fields[1], major)
	case fields[2] != "unix":
		return wrong("listen on a Unix socket in $PLUGIN_UNIX_SOCKET_DIR", "it listens on %s, not on a Unix socket", fields[2])
	case fields[4] != "grpc":
		return wrong("the fifth field is grpc", "it speaks %q, the broker gRPC", fields[4])
	case len(fields) < 6 || fields[5] == "":
		return wrong("make a self-signed certificate, require the one in PLUGIN_CLIENT_CERT from clients, and print the own one as sixth field",
			"there is no sixth field: the plugin does not do AutoMTLS")
	}
	certificate, err := parseCertificate(fields[5])
	if err != nil {
		return wrong("the sixth field is the certificate in DER, in base64 without padding (Go's RawStdEncoding)", "the sixth field is no certificate: %v", err)
	}
	if err := certificate.VerifyHostname("localhost"); err != nil {
		return wrong("give the certificate the DNS name localhost, as a subject alternative name", "the certificate is not for localhost: %v", err)
	}
	return line{address: fields[3], certificate: certificate},
		good(checkHandshake, "contract %s, socket %s, certificate %s", fields[1], fields[3], certificate.PublicKeyAlgorithm)
}

func parseCertificate(field string) (*x509.Certificate, error) {
	if strings.HasSuffix(field, "=") {
		return nil, fmt.Errorf("it is padded with =")
	}
	der, err := base64.RawStdEncoding.DecodeString(field)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
