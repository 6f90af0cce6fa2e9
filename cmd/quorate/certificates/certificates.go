// Package certificates watches certificate files while a node runs and hands what
// is new in them to whoever uses them, for the connections to come.
//
// The files are read again and again, every [Interval], instead of waiting for the
// file system to tell: that works for files that are overwritten, renamed into place,
// or replaced by switching a symbolic link above them, as Kubernetes does, on any
// file system. Something that cannot be used is told in the log and changes nothing.
package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// Interval is the time between two looks at the files.
const Interval = 2 * time.Second

// maxFileBytes bounds what is read of a file; a bundle of authorities has some
// hundred kilobytes.
const maxFileBytes = 4 << 20

// Files are the places of a certificate, its key, and the authorities that sign
// others. An empty path is no file.
type Files struct{ CA, Cert, Key string }

// Material is what is in the files, in PEM.
type Material struct{ CA, Cert, Key []byte }

// Read reads the files.
func (f Files) Read() (m Material, err error) {
	for _, one := range []struct {
		path string
		into *[]byte
	}{{f.CA, &m.CA}, {f.Cert, &m.Cert}, {f.Key, &m.Key}} {
		if one.path == "" {
			continue
		}
		if *one.into, err = read(one.path); err != nil {
			return m, err
		}
	}
	return m, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxFileBytes)
	}
	return os.ReadFile(path)
}

func (m Material) equal(other Material) bool {
	return bytes.Equal(m.CA, other.CA) && bytes.Equal(m.Cert, other.Cert) && bytes.Equal(m.Key, other.Key)
}

// Pair returns certificate and key, if they belong together and are valid now.
func (m Material) Pair() (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		return pair, err
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return pair, fmt.Errorf("the certificate expired on %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	case now.Before(pair.Leaf.NotBefore):
		return pair, fmt.Errorf("the certificate is not valid before %s", pair.Leaf.NotBefore.Format(time.RFC3339))
	}
	return pair, nil
}

// Authorities returns the pool of CA; nil if there is none.
func (m Material) Authorities() (*x509.CertPool, error) {
	if len(m.CA) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(m.CA) {
		return nil, errors.New("the file of authorities holds no PEM certificate")
	}
	return pool, nil
}

// CheckPeer reports why other nodes, which have the same authorities, would refuse
// the certificate.
func (m Material) CheckPeer() error {
	pair, err := m.Pair()
	if err != nil {
		return err
	}
	pool, err := m.Authorities()
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(c)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			return fmt.Errorf("other nodes would refuse the certificate: %w", err)
		}
	}
	return nil
}

// Watcher watches sets of files. Add comes before Run.
type Watcher struct {
	interval time.Duration
	log      *slog.Logger
	watched  []*watched
}

// watched is one set of files. Only Run changes it.
type watched struct {
	name    string
	files   Files
	use     func(context.Context, Material) error
	current Material
	problem string // of the last look
	told    bool   // it is in the log
}

// NewWatcher returns a watcher that looks every interval.
func NewWatcher(interval time.Duration, log *slog.Logger) *Watcher {
	return &Watcher{interval: interval, log: log.With("component", "certificates")}
}

// Add watches files, which hold current now. use is called, from Run, with anything
// else that they hold; an error means that it goes on with what it has, and is asked
// again at the next look.
func (w *Watcher) Add(name string, files Files, current Material, use func(context.Context, Material) error) {
	w.watched = append(w.watched, &watched{name: name, files: files, use: use, current: current})
}

// Run looks at the files until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	if len(w.watched) == 0 {
		return nil
	}
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, f := range w.watched {
			w.look(ctx, f)
		}
	}
}

func (w *Watcher) look(ctx context.Context, f *watched) {
	fresh, err := f.files.Read()
	if err == nil {
		if fresh.equal(f.current) {
			f.problem, f.told = "", false
			return
		}
		if err = f.use(ctx, fresh); err == nil {
			f.current, f.problem, f.told = fresh, "", false
			w.log.Info("certificates renewed", "for", f.name, "valid_until", fresh.until())
			return
		}
	}
	if ctx.Err() == nil {
		w.complain(f, err)
	}
}

// complain tells of a problem once, and not before it was seen twice: certificate and
// key are rarely replaced in one moment.
func (w *Watcher) complain(f *watched, err error) {
	if f.problem != err.Error() {
		f.problem, f.told = err.Error(), false
		return
	}
	if f.told {
		return
	}
	f.told = true
	w.log.Error("new certificates cannot be used: the old ones are kept", "for", f.name, "cert", f.files.Cert, "key", f.files.Key,
		"ca", f.files.CA, "error", err, "valid_until", f.current.until())
}

// until is when the certificate expires, for people; empty if it cannot be read.
func (m Material) until() string {
	pair, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		return ""
	}
	return pair.Leaf.NotAfter.Format(time.RFC3339)
}
