package replica

import (
	"context"
	"log/slog"
)

// partitionLog is a log handler that adds which partition it is. It does so when something
// is logged, so that a partition that says nothing pays nothing for what it might say.
type partitionLog Partition

// with is the manager's handler with the partition's attributes.
func (l *partitionLog) with() slog.Handler {
	return l.m.log.Handler().WithAttrs([]slog.Attr{slog.String("topic", l.topic), slog.Int("partition", int(l.key.partition))})
}

// Enabled implements [slog.Handler].
func (l *partitionLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.m.log.Handler().Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (l *partitionLog) Handle(ctx context.Context, r slog.Record) error {
	return l.with().Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (l *partitionLog) WithAttrs(attrs []slog.Attr) slog.Handler { return l.with().WithAttrs(attrs) }

// WithGroup implements [slog.Handler].
func (l *partitionLog) WithGroup(name string) slog.Handler { return l.with().WithGroup(name) }
