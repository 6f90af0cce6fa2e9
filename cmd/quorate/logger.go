package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"github.com/quorate/quorate/configs"
)

// newLogger returns the logger that the config asks for; "auto" has colours on a
// terminal.
func newLogger(cfg configs.Log, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		return nil, fmt.Errorf("log/level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	f, isFile := w.(*os.File)
	switch {
	case cfg.Format == "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case cfg.Format == "auto" && isFile && isatty.IsTerminal(f.Fd()):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly})), nil
	default:
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
}
