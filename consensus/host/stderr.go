package host

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

const (
	tailLines    = 50       // kept for the message about an exit
	maxLineBytes = 64 << 10 // the rest of a longer line is dropped
	maxTailBytes = 1 << 10  // of one kept line
)

// stderrLog takes a plugin's stderr, line by line: hclog's JSON goes on to slog
// with its level and attributes, everything else, such as the dump of a panic,
// as it is. It keeps the last lines.
type stderrLog struct {
	log *slog.Logger

	mu       sync.Mutex
	line     []byte
	panicked bool
	crash    string   // what a panic began with
	tail     []string // at most tailLines, oldest first
}

// Write implements io.Writer.
func (s *stderrLog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		s.line = append(s.line, part[:min(len(part), maxLineBytes-len(s.line))]...)
		if ended {
			s.take(s.line)
			s.line = s.line[:0]
		}
		p = rest
	}
	return n, nil
}

// last returns the last lines, oldest first.
func (s *stderrLog) last() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tail)
}

// crashed returns the first line of a panic; empty if there was none.
func (s *stderrLog) crashed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.crash
}

func (s *stderrLog) take(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if len(s.tail) == tailLines {
		s.tail = s.tail[1:]
	}
	s.tail = append(s.tail, string(line[:min(len(line), maxTailBytes)]))
	if level, message, attrs, ok := parseHclog(line); ok {
		s.log.LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // the plugin's message, passed on
		return
	}
	text := string(line)
	if strings.HasPrefix(text, "panic:") || strings.HasPrefix(text, "fatal error:") || strings.HasPrefix(text, "SIGQUIT:") {
		s.panicked = true
		if s.crash == "" && text[0] != 'S' {
			s.crash = text[:min(len(text), maxTailBytes)]
		}
	}
	level := slog.LevelInfo
	if s.panicked {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, "plugin wrote to stderr", "line", text)
}

// parseHclog reads one line as hclog writes it in JSON. Attributes come in the
// order of their names; the time is dropped, since slog sets its own.
func parseHclog(line []byte) (slog.Level, string, []slog.Attr, bool) {
	var fields map[string]any
	if line[0] != '{' || json.Unmarshal(line, &fields) != nil {
		return 0, "", nil, false
	}
	message, ok := fields["@message"].(string)
	if !ok {
		return 0, "", nil, false
	}
	name, _ := fields["@level"].(string)
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(key, "@") {
			attrs = append(attrs, slog.Any(key, fields[key]))
		}
	}
	return hclogLevel(name), message, attrs, true
}

func hclogLevel(name string) slog.Level {
	switch name {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
