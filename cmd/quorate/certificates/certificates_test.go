package certificates

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// issuer is an authority.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return issuer{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func (i issuer) issue(t *testing.T, from, until time.Duration) Material {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, DNSNames: []string{"node"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.cert, key.Public(), i.key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return Material{
		CA: i.pem, Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckPeer(t *testing.T) {
	ca, other := newIssuer(t), newIssuer(t)
	good := ca.issue(t, -time.Hour, time.Hour)
	tests := []struct {
		name string
		m    Material
		want string // in the error; "" = none
	}{
		{"good", good, ""},
		{"another key", Material{good.CA, good.Cert, ca.issue(t, 0, time.Hour).Key}, "private key does not match"},
		{"no PEM", Material{good.CA, []byte("x"), good.Key}, "failed to find any PEM data"},
		{"expired", ca.issue(t, -2*time.Hour, -time.Hour), "expired on"},
		{"not valid yet", ca.issue(t, time.Hour, 2*time.Hour), "not valid before"},
		{"of an authority that is not trusted", Material{other.pem, good.Cert, good.Key}, "other nodes would refuse"},
		{"no authority in the file", Material{[]byte("x"), good.Cert, good.Key}, "holds no PEM certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.m.CheckPeer()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

// watching is a watcher on three files, and what its user was given last.
type watching struct {
	dir   string
	files Files
	log   buffer
	used  atomic.Pointer[Material]
}

func watch(ctx context.Context, t *testing.T, dir string, files Files) *watching {
	t.Helper()
	now, err := files.Read()
	must(t, err)
	h := &watching{dir: dir, files: files}
	h.used.Store(&now)
	w := NewWatcher(Interval, slog.New(slog.NewTextHandler(&h.log, nil)))
	w.Add("test", files, now, func(_ context.Context, m Material) error {
		if err := m.CheckPeer(); err != nil {
			return err
		}
		h.used.Store(&m)
		return nil
	})
	go w.Run(ctx)
	return h
}

func (h *watching) write(t *testing.T, m Material) {
	t.Helper()
	must(t, errors.Join(os.WriteFile(h.files.CA, m.CA, 0o600), os.WriteFile(h.files.Cert, m.Cert, 0o600), os.WriteFile(h.files.Key, m.Key, 0o600)))
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ca := newIssuer(t)
		dir := t.TempDir()
		files := Files{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
		h := &watching{files: files}
		first := ca.issue(t, -time.Hour, 100*time.Hour)
		h.write(t, first)
		h = watch(ctx, t, dir, files)
		looks := func(n int) { // lets n looks happen
			time.Sleep(time.Duration(n) * Interval)
			synctest.Wait()
		}
		uses := func(what string, m Material) {
			t.Helper()
			if !h.used.Load().equal(m) {
				t.Errorf("%s: other certificates are used\n%s", what, h.log.String())
			}
		}
		time.Sleep(Interval / 2) // between two looks
		second := ca.issue(t, -time.Hour, 200*time.Hour)
		h.write(t, second)
		looks(1)
		uses("new files", second)

		// The certificate comes before its key, and nobody needs to know.
		third := ca.issue(t, -time.Hour, 300*time.Hour)
		must(t, os.WriteFile(files.Cert, third.Cert, 0o600))
		looks(1)
		uses("half of it", second)
		must(t, os.WriteFile(files.Key, third.Key, 0o600))
		looks(1)
		uses("all of it", third)
		if strings.Contains(h.log.String(), "level=ERROR") {
			t.Errorf("a change that was under way is told as a problem:\n%s", h.log.String())
		}

		for _, bad := range []struct {
			name string
			m    Material
			want string
		}{
			{"rubbish", Material{third.CA, []byte("rubbish"), third.Key}, "failed to find any PEM data"},
			{"expired", ca.issue(t, -2*time.Hour, -time.Hour), "expired on"},
			{"of nobody's authority", Material{third.CA, newIssuer(t).issue(t, 0, time.Hour).Cert, nil}, "failed to find any PEM data in key"},
		} {
			h.log.Reset()
			h.write(t, bad.m)
			looks(5)
			uses(bad.name, third)
			if got := h.log.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, bad.want) || !strings.Contains(got, "the old ones are kept") {
				t.Errorf("%s: the log has\n%s", bad.name, got)
			}
		}
		h.log.Reset()
		must(t, os.Remove(files.Cert))
		looks(5)
		uses("no file", third)
		if got := h.log.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "tls.crt: no such file") {
			t.Errorf("no file: the log has\n%s", got)
		}
		h.write(t, second)
		looks(1)
		uses("after all that", second)
	})
}

// Kubernetes, and cert-manager with it, switches a link to a folder of files.
func TestWatchSwitchedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ca := newIssuer(t)
		dir := t.TempDir()
		put := func(version string, m Material) {
			in := filepath.Join(dir, version)
			must(t, os.Mkdir(in, 0o700))
			for name, b := range map[string][]byte{"ca.crt": m.CA, "tls.crt": m.Cert, "tls.key": m.Key} {
				must(t, os.WriteFile(filepath.Join(in, name), b, 0o600))
			}
			must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
			must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		}
		first, second := ca.issue(t, -time.Hour, time.Hour), ca.issue(t, -time.Hour, time.Hour)
		put("..1", first)
		for _, name := range []string{"ca.crt", "tls.crt", "tls.key"} {
			must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
		}
		h := watch(ctx, t, dir, Files{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")})
		put("..2", second)
		must(t, os.RemoveAll(filepath.Join(dir, "..1")))
		time.Sleep(Interval + Interval/2)
		synctest.Wait()
		if !h.used.Load().equal(second) {
			t.Errorf("other certificates are used\n%s", h.log.String())
		}
	})
}
