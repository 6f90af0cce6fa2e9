package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus/consensustest/kit"
	"github.com/quorate/quorate/consensus/host"
)

// certificateIn is where `plugin verify --certificate path` writes: path itself,
// or, if that is a directory, the file in it that belongs to the executable.
func certificateIn(path, executable, backend string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return filepath.Join(path, filepath.Base(kit.CertificatePath(executable, backend)))
	}
	return path
}

// gradeOf is the level that a certificate beside the executable gives a backend:
// "-" without one, and why if there is one of something else.
func gradeOf(executable, backend, sha256 string) (grade, problem string) {
	c, err := kit.ReadCertificate(kit.CertificatePath(executable, backend), backend, sha256)
	switch {
	case errors.Is(err, kit.ErrNoCertificate):
		return "-", ""
	case err != nil:
		return "-", err.Error()
	default:
		return c.Grade(), ""
	}
}

// certifiedLevel is from which level on an external plugin counts as judged: one
// of three replicas has been killed, cut off and frozen.
const certifiedLevel = 3

// warnUncertified logs a warning if the metadata log is about to be entrusted to
// a backend that is not ours and has not shown that it keeps the contract. It
// stops nobody: who runs a plugin of their own knows why.
func warnUncertified(cfg configs.Consensus, backend string, log *slog.Logger) {
	if cfg.Backend != host.External {
		return
	}
	sum, err := sumOf(cfg.External.Path)
	if err != nil {
		log.Warn("the consensus plugin's certificate cannot be looked for", "path", cfg.External.Path, "error", err)
		return
	}
	advice := fmt.Sprintf("quorate plugin verify %s --level %d --certificate %s", cfg.External.Path, certifiedLevel, filepath.Dir(cfg.External.Path))
	path := kit.CertificatePath(cfg.External.Path, backend)
	switch c, err := kit.ReadCertificate(path, backend, sum); {
	case err != nil:
		log.Warn("the consensus plugin is not certified", "plugin", backend, "certificate", path, "reason", err.Error(), "advice", advice)
	case c.Level < certifiedLevel:
		log.Warn("the consensus plugin is certified to a low level only", "plugin", backend, "certificate", path, "level", c.Level, "wanted", certifiedLevel, "advice", advice)
	default:
		log.Info("the consensus plugin is certified", "plugin", backend, "level", c.Level, "quick", c.Quick, "date", c.Date)
	}
}
