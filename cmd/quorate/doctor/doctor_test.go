package doctor

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus/sdk"
)

const refuses = "#!/bin/sh\n[ -n \"$" + sdk.CookieKey + "\" ] || exit 78\n"

func TestExamine(t *testing.T) {
	tests := []struct {
		name     string
		path     string
		script   string // or the plugins of TestMain, by args
		args     []string
		mode     os.FileMode
		sum      string
		describe error
		check    string // the check that fails; empty: none
		says     string
		fix      string
	}{
		{name: "a good plugin", args: []string{"solo"}},
		{name: "a good plugin that is ours", args: []string{"plugin", ""}},
		{name: "it cannot describe itself", args: []string{"solo"}, describe: errors.New("unknown service"), check: checkDescribe, says: "unknown service"},
		{name: "P-256 only", args: []string{"plugin", "p256"}, check: checkTLS, says: "takes one of P-256", fix: "ecdsa_secp521r1_sha512"},
		{name: "no ALPN", args: []string{"plugin", "no-alpn"}, check: checkTLS, says: "does not choose HTTP/2", fix: "h2"},
		{name: "it takes anybody", args: []string{"plugin", "takes-anybody"}, check: checkTLS, says: "is not its broker", fix: "PLUGIN_CLIENT_CERT"},
		{name: "it takes nobody", args: []string{"plugin", "takes-nobody"}, check: checkTLS, says: "TLS handshake fails", fix: "PLUGIN_CLIENT_CERT"},
		{name: "it never answers", args: []string{"plugin", "mute"}, check: checkTLS, says: "after the handshake", fix: "HTTP/2"},
		{name: "no socket behind the line", args: []string{"plugin", "no-socket"}, check: checkSocket, says: "no such file", fix: "before the line"},
		{name: "a socket with a long name", args: []string{"plugin", "long-name"}, check: checkHandshake, says: "longer than 107 bytes", fix: "short name"},
		{name: "a certificate for somebody else", args: []string{"plugin", "no-localhost"}, check: checkHandshake, says: "not for localhost", fix: "DNS name localhost"},
		{name: "SIGTERM ends it", args: []string{"plugin", "sigterm"}, check: checkSignals, says: "it ends on terminated", fix: "catch"},
		{name: "SIGINT ends it", args: []string{"plugin", "sigint"}, check: checkSignals, says: "it ends on interrupt", fix: "catch"},
		{name: "it outlives its broker", args: []string{"plugin", "orphan"}, check: checkHostDeath, says: "runs on", fix: sdk.HostFDKey},
		{name: "the broker's death is an error to it", args: []string{"plugin", "dies-badly"}, check: checkHostDeath, says: "exit status 5", fix: "exit with 0"},
		{name: "it talks on", args: []string{"plugin", "talks"}, check: checkStdout, says: "after the handshake", fix: "stderr"},
		{name: "not there", path: "/no/such/plugin", check: checkExecutable, says: "does not exist", fix: "consensus/external/path"},
		{name: "a folder", path: "/", check: checkExecutable, says: "is no file", fix: "the executable itself"},
		{name: "no program at all", script: "what is this", check: checkCookie, says: "cannot be started", fix: "by hand"},
		{name: "not executable", script: refuses, mode: 0o644, check: checkExecutable, says: "is not executable", fix: "chmod +x"},
		{name: "writable by others", script: refuses, mode: 0o777, check: checkExecutable, says: "changed by others", fix: "chmod go-w"},
		{name: "wrong checksum", args: []string{"solo"}, sum: "abcd", check: checkChecksum, says: "should be abcd", fix: "consensus/external/sha256"},
		{name: "no cookie asked for", script: "#!/bin/sh\nexec sleep 60\n", check: checkCookie, says: "does not refuse", fix: sdk.CookieKey},
		{name: "another cookie", script: "#!/bin/sh\necho not by hand >&2\nexit 78\n", check: checkHandshake, says: "does not know the cookie", fix: sdk.CookieValue},
		{name: "a banner", script: refuses + "echo Welcome\nexec sleep 60\n", check: checkHandshake, says: `"Welcome"`, fix: "stderr"},
		{name: "exits at once", script: refuses + "echo no such file >&2\nexit 3\n", check: checkHandshake, says: "exit status 3; it said: no such file"},
		{name: "no line in time", script: refuses + "exec sleep 60\n", check: checkHandshake, says: "prints nothing", fix: "Start"},
		{name: "no AutoMTLS", script: refuses + "echo '1|1|unix|/x|grpc|'\nexec sleep 60\n", check: checkHandshake, says: "AutoMTLS", fix: "PLUGIN_CLIENT_CERT"},
		{name: "another major", script: refuses + "echo '1|9|unix|/x|grpc|'\nexec sleep 60\n", check: checkHandshake, says: "version 9", fix: "PLUGIN_PROTOCOL_VERSIONS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := Plugin{Path: os.Args[0], Args: tt.args, SHA256: tt.sum, Timeout: 20 * time.Second}
			if strings.Contains(tt.script, "sleep") {
				p.Timeout = 200 * time.Millisecond // it never comes
			}
			if strings.Contains(tt.script, "echo '") || strings.Contains(tt.script, "echo W") {
				p.Timeout = 20 * time.Second
			}
			if tt.path != "" {
				p.Path = tt.path
			}
			if tt.script != "" {
				p.Path = script(t, tt.script, tt.mode)
			}
			findings, err := Examine(t.Context(), p, func(context.Context) (string, error) { return "solo", tt.describe })
			if err != nil {
				t.Fatal(err)
			}
			if tt.check == "" {
				if !Healthy(findings) || len(findings) != 9 {
					t.Errorf("got %+v, want nine checks that are fine", findings)
				}
				return
			}
			for _, f := range findings {
				if f.Check == tt.check && !f.OK {
					if !strings.Contains(f.Says, tt.says) || !strings.Contains(f.Fix, tt.fix) || f.Fix == "" {
						t.Errorf("got %+v, want it to say %q and to advise %q", f, tt.says, tt.fix)
					}
					return
				}
			}
			t.Errorf("got %+v, want %s to fail", findings, tt.check)
		})
	}
}

func script(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	if mode == 0 {
		mode = 0o755
	}
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestParseLine(t *testing.T) {
	id, err := newIdentity(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	good := base64.RawStdEncoding.EncodeToString(id.pair.Certificate[0])
	padded := base64.StdEncoding.EncodeToString(append(id.pair.Certificate[0], make([]byte, 3-len(id.pair.Certificate[0])%3+1)...))
	tests := []struct{ name, line, says string }{
		{"good", "1|1|unix|/run/p|grpc|" + good, ""},
		{"a seventh field", "1|1|unix|/run/p|grpc|" + good + "|true", ""},
		{"another core version", "2|1|unix|/run/p|grpc|" + good, "first field"},
		{"TCP", "1|1|tcp|127.0.0.1:1|grpc|" + good, "not on a Unix socket"},
		{"net/rpc", "1|1|unix|/run/p|netrpc|" + good, "netrpc"},
		{"padding", "1|1|unix|/run/p|grpc|" + padded, "padded"},
		{"no certificate", "1|1|unix|/run/p|grpc|AAAA", "no certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, f := parseLine(tt.line)
			if f.OK != (tt.says == "") || !strings.Contains(f.Says, tt.says) {
				t.Errorf("got %+v, want it to say %q", f, tt.says)
			}
		})
	}
}
