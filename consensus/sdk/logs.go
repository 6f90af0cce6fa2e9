package sdk

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// logQueueLines bounds the lines that wait for a slow stderr; beyond it they are
// dropped, since a log must never hold up consensus.
const logQueueLines = 1024

// logWriter writes lines from its own goroutine. Write never blocks and never
// fails: lines are dropped when the queue is full, and for good once the other
// end of the pipe is gone.
type logWriter struct {
	lines   chan []byte
	flushes chan chan struct{}
	broken  atomic.Bool
}

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{lines: make(chan []byte, logQueueLines), flushes: make(chan chan struct{})}
	go l.run(w)
	return l
}

// Write implements io.Writer; p is one line.
func (l *logWriter) Write(p []byte) (int, error) {
	if !l.broken.Load() {
		select {
		case l.lines <- append([]byte(nil), p...):
		default:
		}
	}
	return len(p), nil
}

func (l *logWriter) run(w io.Writer) {
	for {
		select {
		case line := <-l.lines:
			l.write(w, line)
		case done := <-l.flushes:
			for range len(l.lines) {
				l.write(w, <-l.lines)
			}
			close(done)
		}
	}
}

func (l *logWriter) write(w io.Writer, line []byte) {
	if l.broken.Load() {
		return
	}
	if _, err := w.Write(line); err != nil {
		l.broken.Store(true)
	}
}

// flush writes what is queued, for at most wait.
func (l *logWriter) flush(wait time.Duration) {
	expired := time.After(wait)
	done := make(chan struct{})
	select {
	case l.flushes <- done:
	case <-expired:
		return
	}
	select {
	case <-done:
	case <-expired:
	}
}

// hclogTime is how hclog writes @timestamp.
const hclogTime = "2006-01-02T15:04:05.000000Z07:00"

// newLogHandler returns a handler that writes hclog's JSON to w: the host turns
// it back into slog. level is one of slog's names; otherwise it is info.
func newLogHandler(w io.Writer, level string) slog.Handler {
	lowest := slog.LevelInfo
	if err := lowest.UnmarshalText([]byte(level)); err != nil {
		lowest = slog.LevelInfo
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: lowest, ReplaceAttr: hclogKeys})
}

func hclogKeys(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		if a.Value.Kind() == slog.KindTime {
			return slog.String("@timestamp", a.Value.Time().Format(hclogTime))
		}
	case slog.MessageKey:
		a.Key = "@message"
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String("@level", hclogLevel(level))
		}
	}
	return a
}

func hclogLevel(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return "trace"
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	default:
		return "error"
	}
}
