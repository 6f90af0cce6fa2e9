package etcdraft

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// raftLogger writes raft's own messages to slog. What raft calls info is
// debugging for us: the group logs changes of leadership itself.
type raftLogger struct{ log *slog.Logger }

func (l raftLogger) put(level slog.Level, text string) {
	l.log.Log(context.Background(), level, "raft", "says", text)
}

func (l raftLogger) Debug(v ...any) { l.put(slog.LevelDebug-4, fmt.Sprint(v...)) }
func (l raftLogger) Debugf(format string, v ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug-4) {
		l.put(slog.LevelDebug-4, fmt.Sprintf(format, v...))
	}
}
func (l raftLogger) Info(v ...any) { l.put(slog.LevelDebug, fmt.Sprint(v...)) }
func (l raftLogger) Infof(format string, v ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.put(slog.LevelDebug, fmt.Sprintf(format, v...))
	}
}
func (l raftLogger) Warning(v ...any) { l.put(slog.LevelWarn, fmt.Sprint(v...)) }
func (l raftLogger) Warningf(format string, v ...any) {
	l.put(slog.LevelWarn, fmt.Sprintf(format, v...))
}
func (l raftLogger) Error(v ...any) { l.put(slog.LevelError, fmt.Sprint(v...)) }
func (l raftLogger) Errorf(format string, v ...any) {
	l.put(slog.LevelError, fmt.Sprintf(format, v...))
}

// Fatal and Panic unwind to the group's loop, which ends the process with the
// group's name in the message instead of raft's os.Exit(1).
func (l raftLogger) Fatal(v ...any)                 { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(format string, v ...any) { panic(raftPanic(fmt.Sprintf(format, v...))) }
func (l raftLogger) Panic(v ...any)                 { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(format string, v ...any) { panic(raftPanic(fmt.Sprintf(format, v...))) }

type raftPanic string

// fataler ends the process, once.
type fataler struct {
	once sync.Once
	log  *slog.Logger
	exit func(code int)
}

func (f *fataler) fatal(code int, why error) {
	f.once.Do(func() {
		f.log.Error("the backend cannot go on", "error", why, "exit_code", code)
		f.exit(code)
	})
}
