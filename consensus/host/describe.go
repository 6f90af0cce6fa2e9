package host

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/quorate/quorate/consensus"
)

// Describe starts the backend's process, asks what it is and what it thinks of
// spec.Start.Options, and stops it again; nothing is started or written. The
// error is an *ExitError, or ctx's.
func Describe(ctx context.Context, spec Spec, log *slog.Logger) (consensus.Description, []consensus.Diagnostic, error) {
	spec, err := spec.complete()
	if err != nil {
		return consensus.Description{}, nil, &ExitError{Code: consensus.ExitConfig, Reason: err.Error(), Err: err}
	}
	p, err := startProcess(spec, log)
	if err != nil {
		end := judge(err, -1)
		return consensus.Description{}, nil, &ExitError{Code: end.code, Reason: end.Error(), Err: end.err}
	}
	defer p.reap()
	defer p.kill()
	d, ds, err := describe(ctx, p.conn, spec.Start.Options)
	if err != nil {
		return d, nil, fmt.Errorf("ask the consensus plugin %s: %w", spec.Name, err)
	}
	return d, ds, nil
}
