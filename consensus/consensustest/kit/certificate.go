package kit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Certificate says that one version of a backend passed. It is a statement and
// no signature: what it is worth depends on where it was found.
type Certificate struct {
	Backend  string `json:"backend"`
	Version  string `json:"version"`
	SHA256   string `json:"sha256"` // of the executable that was judged
	Contract string `json:"contract"`
	Level    int    `json:"level"`
	Quick    bool   `json:"quick"`
	Seed     uint64 `json:"seed"`
	Date     string `json:"date"` // RFC 3339
	// NotRun are the cases of the level that could not be run, with the reason.
	NotRun []string `json:"not_run,omitempty"`
}

// Certificate returns what the report is worth: an error unless every case of
// the level was asked for, and all that could be run passed. Its level is lower
// than the report's if the backend takes fewer replicas than that needs.
func (r *Report) Certificate() (Certificate, error) {
	switch {
	case r.Partial:
		return Certificate{}, errors.New("not every case of the level was run")
	case !r.Passed():
		return Certificate{}, errors.New("not every case passed")
	}
	level := r.Level
	var notRun []string
	for _, one := range r.Results {
		switch {
		case one.Skipped == "":
		case one.Case.Nodes > r.Members:
			level = min(level, one.Case.Level-1) // a backend of one node goes no further
		default:
			notRun = append(notRun, one.Case.String()+": "+one.Skipped)
		}
	}
	return Certificate{
		Backend: r.Backend, Version: r.Version, SHA256: r.SHA256, Contract: r.Contract,
		Level: level, Quick: r.Quick, Seed: r.Seed, Date: r.Finished.UTC().Format(time.RFC3339), NotRun: notRun,
	}, nil
}

// CertificatePath is where the certificate of a backend belongs that executable
// is, or contains: beside it.
func CertificatePath(executable, backend string) string {
	return executable + "." + backend + ".certificate.json"
}

// ErrNoCertificate means that there is none.
var ErrNoCertificate = errors.New("there is no certificate")

// ReadCertificate reads the certificate in path, and holds it against the backend
// and the checksum of the executable that it is asked for. The error is
// ErrNoCertificate if the file does not exist, and says what does not fit if
// another version, or something else, was judged.
func ReadCertificate(path, backend, sha256 string) (Certificate, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Certificate{}, fmt.Errorf("%w: %s does not exist", ErrNoCertificate, path)
	}
	if err != nil {
		return Certificate{}, err
	}
	var c Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		return Certificate{}, fmt.Errorf("%s is not a certificate: %w", path, err)
	}
	switch {
	case c.Level < 1 || c.Level > 4 || len(c.SHA256) != 64:
		return Certificate{}, fmt.Errorf("%s is not a certificate: it has no level or no checksum", path)
	case c.Backend != backend:
		return Certificate{}, fmt.Errorf("%s is the certificate of %s, not of %s", path, c.Backend, backend)
	case c.SHA256 != sha256:
		return Certificate{}, fmt.Errorf("%s is of %s, and of another executable: its SHA-256 is %.12s, that of the executable %.12s", path, c.Date, c.SHA256, sha256)
	}
	return c, nil
}

// Grade is the level as tables show it.
func (c Certificate) Grade() string {
	if c.Quick {
		return fmt.Sprintf("%d (quick)", c.Level)
	}
	return fmt.Sprint(c.Level)
}

// Write writes the certificate to a file, whole or not at all.
func (c Certificate) Write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = draft.Write(append(data, '\n'))
	if err = errors.Join(err, draft.Chmod(0o644), draft.Close()); err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return nil
}
