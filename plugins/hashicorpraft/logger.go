package hashicorpraft

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// logger lets the library, which knows hclog, write to slog.
type logger struct {
	to   *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = logger{}

var levels = map[hclog.Level]slog.Level{
	hclog.Trace: slog.LevelDebug - 4, hclog.Debug: slog.LevelDebug, hclog.Info: slog.LevelInfo,
	hclog.Warn: slog.LevelWarn, hclog.Error: slog.LevelError,
}

// perAttempt is what the library says, as an error, of every single request that a
// peer did not answer; of one that is down, several times in a second for as long as
// that lasts. silence says it once instead.
var perAttempt = []string{
	"failed to heartbeat to", "failed to appendEntries to", "failed to pipeline appendEntries",
	"failed to start pipeline replication to", "failed to make requestVote RPC",
}

// Log implements hclog.Logger.
func (l logger) Log(level hclog.Level, msg string, args ...any) {
	to, known := levels[level]
	if slices.Contains(perAttempt, msg) {
		to = slog.LevelDebug
	}
	if !known || !l.to.Enabled(context.Background(), to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
	}
	l.to.Log(context.Background(), to, msg, args...) //nolint:sloglint // the library chose the message
}

func (l logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l logger) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), levels[level])
}

func (l logger) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l logger) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l logger) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l logger) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l logger) IsError() bool { return l.enabled(hclog.Error) }

func (l logger) ImpliedArgs() []any { return l.args }
func (l logger) Name() string       { return l.name }

// With implements hclog.Logger.
func (l logger) With(args ...any) hclog.Logger {
	return logger{to: l.to.With(args...), name: l.name, args: append(slices.Clip(l.args), args...)}
}

// Named implements hclog.Logger; names are not printed.
func (l logger) Named(name string) hclog.Logger {
	return logger{to: l.to, name: name, args: l.args}
}

// ResetNamed implements hclog.Logger.
func (l logger) ResetNamed(name string) hclog.Logger { return l.Named(name) }

// SetLevel does nothing: slog's handler decides.
func (l logger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (l logger) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if l.enabled(level) {
			return level
		}
	}
	return hclog.Error
}

// StandardLogger implements hclog.Logger.
func (l logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelInfo)
}

// StandardWriter implements hclog.Logger.
func (l logger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
