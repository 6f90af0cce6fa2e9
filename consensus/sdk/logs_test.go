package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestLogLinesAreHclogs(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newLogHandler(&out, "DEBUG"))
	log.Warn("something happened", "term", 3, "time", "mine", "level", "mine too")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["@level"] != "warn" || line["@message"] != "something happened" || line["term"] != 3.0 || line["time"] != "mine" {
		t.Errorf("got %s", out.String())
	}
	stamp, _ := line["@timestamp"].(string)
	if _, err := time.Parse(hclogTime, stamp); err != nil {
		t.Error(err)
	}
	for level, want := range map[slog.Level]string{
		slog.LevelDebug - 4: "trace", slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelError: "error", slog.LevelError + 4: "error",
	} {
		if got := hclogLevel(level); got != want {
			t.Errorf("level %s: got %s, want %s", level, got, want)
		}
	}
}

// stuck is a stderr that nobody reads: Write waits until it breaks.
type stuck struct{ broken chan struct{} }

func (s stuck) Write([]byte) (int, error) {
	<-s.broken
	return 0, errors.New("broken pipe")
}

func TestLogWriterNeverBlocks(t *testing.T) {
	s := stuck{make(chan struct{})}
	l := newLogWriter(s)
	for range 3 * logQueueLines {
		if n, err := l.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	l.flush(time.Millisecond) // gives up
	close(s.broken)
	l.flush(time.Minute)
	if !l.broken.Load() {
		t.Error("a broken pipe is not noticed")
	}
}

func TestLogWriterFlushes(t *testing.T) {
	var out bytes.Buffer
	l := newLogWriter(&out)
	for range 100 {
		_, _ = l.Write([]byte("line\n"))
	}
	l.flush(time.Minute)
	if got := out.Len(); got != 500 {
		t.Errorf("%d bytes were written, want 500", got)
	}
}
