package metadata

import (
	"context"
	"log/slog"
	"time"

	"github.com/quorate/quorate/consensus"
)

// LoaderConfig is a Loader's settings.
type LoaderConfig struct {
	// RetryPause is the time between attempts to read or save a snapshot while
	// the backend is not available. Default 100 ms.
	RetryPause time.Duration
}

// Loader follows the metadata log.
type Loader struct{}

// NewLoader returns a loader.
func NewLoader(client consensus.Client, group consensus.GroupID, cfg LoaderConfig, log *slog.Logger) *Loader {
	return &Loader{}
}

// Run follows the log.
func (l *Loader) Run(ctx context.Context) error { return nil }

// Current returns the newest image.
func (l *Loader) Current() *Image { return nil }

// AwaitIndex waits for an index.
func (l *Loader) AwaitIndex(ctx context.Context, index uint64) error { return nil }

// Changed is closed at the next publication.
func (l *Loader) Changed() <-chan struct{} { return nil }

// OnImage adds a publisher.
func (l *Loader) OnImage(name string, f func(old, new *Image)) {}

// Resolve tells what became of a proposal.
func (l *Loader) Resolve(ctx context.Context, term, sequence uint64) (index uint64, o consensus.Outcome, err error) {
	return 0, consensus.Unknown, nil
}
