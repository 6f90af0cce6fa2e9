package kit

import (
	"encoding/json"
	"errors"
	"os"
	"time"
)

// Certificate says that one version of a backend passed.
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

// Write writes the certificate to a file.
func (c Certificate) Write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
