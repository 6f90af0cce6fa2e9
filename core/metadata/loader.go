package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/consensus"
)

// LoaderConfig is a Loader's settings.
type LoaderConfig struct {
	// RetryPause is the time between attempts to read or save a snapshot while
	// the backend is not available. Default 100 ms.
	RetryPause time.Duration
}

// DefaultLoaderConfig returns the defaults.
func DefaultLoaderConfig() LoaderConfig {
	return LoaderConfig{RetryPause: 100 * time.Millisecond}
}

// Loader follows the metadata log: it installs the newest snapshot, replays
// every entry behind it and publishes the images. Nothing of it is on the
// broker's disk; a restart begins with the backend's snapshot again.
//
// One goroutine, in Run, owns the state. Current is an atomic load. AwaitIndex,
// Changed and Resolve speak of images that every publisher has seen already.
// All methods but OnImage may be called concurrently.
type Loader struct {
	client     consensus.Client
	group      consensus.GroupID
	cfg        LoaderConfig
	log        *slog.Logger
	publishers []publisher
	current    atomic.Pointer[Image]

	mu      sync.Mutex
	settled *Image        // the newest image that every publisher has seen
	changed chan struct{} // closed when settled is replaced
	ended   endedTerms
}

type publisher struct {
	name string
	call func(old, new *Image)
}

// NewLoader returns a loader of a group, which has the empty image until Run.
func NewLoader(client consensus.Client, group consensus.GroupID, cfg LoaderConfig, log *slog.Logger) *Loader {
	if cfg.RetryPause <= 0 {
		cfg.RetryPause = DefaultLoaderConfig().RetryPause
	}
	l := &Loader{
		client:  client,
		group:   group,
		cfg:     cfg,
		log:     log.With("component", "metadata"),
		settled: Empty(),
		changed: make(chan struct{}),
	}
	l.current.Store(l.settled)
	return l
}

// OnImage adds a publisher, before Run. Publishers are called in the order in
// which they were added, from the loader's goroutine, with the image before and
// the new one. They must not wait for a later image.
func (l *Loader) OnImage(name string, f func(old, new *Image)) {
	l.publishers = append(l.publishers, publisher{name, f})
}

// Current returns the newest image. Publishers may not have seen it yet.
func (l *Loader) Current() *Image { return l.current.Load() }

// Changed returns a channel that is closed at the next publication.
func (l *Loader) Changed() <-chan struct{} {
	_, changed := l.newest()
	return changed
}

func (l *Loader) newest() (*Image, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled, l.changed
}

// AwaitIndex returns once an image of that index or a later one is published and
// every publisher has seen it, or with ctx's error.
func (l *Loader) AwaitIndex(ctx context.Context, index uint64) error {
	for {
		img, changed := l.newest()
		if img.Index >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await metadata index %d: %w", index, ctx.Err())
		}
	}
}

// Run follows the log until ctx ends, and then returns nil. Any other return is
// final: the log does not make sense, or the backend failed for good. The broker
// must stop then, because its metadata would go stale without a sign.
func (l *Loader) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.follow(ctx) })
	g.Go(func() error { return l.saveSnapshots(ctx) })
	return g.Wait()
}

func (l *Loader) follow(ctx context.Context) error {
	if err := l.install(ctx); err != nil && !errors.Is(err, consensus.ErrNoSnapshot) {
		return endOf(ctx, err)
	}
	for {
		err := l.client.Subscribe(ctx, l.group, l.Current().Index+1, l.apply)
		if errors.Is(err, consensus.ErrCompacted) {
			err = l.install(ctx)
		}
		if ctx.Err() != nil || err != nil {
			return endOf(ctx, err)
		}
	}
}

// endOf returns nil if ctx ended, whatever came of that.
func endOf(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return fmt.Errorf("follow the metadata log: %w", err)
	}
}

// apply replays a batch of entries and publishes what comes of it. A batch is
// one image; the terms that end within it are judged entry by entry.
func (l *Loader) apply(b consensus.Batch) error {
	if len(b.Entries) == 0 {
		return nil
	}
	old := l.Current()
	d, gate, index := NewDelta(old), old.Gate, old.Index
	var ended []consensus.Gate
	for _, e := range b.Entries {
		if e.Index != index+1 {
			return fmt.Errorf("entry %d was delivered after entry %d", e.Index, index)
		}
		index = e.Index
		if e.Term > gate.Term {
			ended = append(ended, gate)
		}
		if err := d.applyEntry(&gate, e); err != nil {
			return fmt.Errorf("apply entry %d of term %d: %w", e.Index, e.Term, err)
		}
	}
	l.publish(old, d.Image(index, gate.Term, gate), func() { l.ended.add(ended) })
	return nil
}

// applyEntry replays what the entry holds, if the gate admits it.
func (d *Delta) applyEntry(gate *consensus.Gate, e consensus.Entry) error {
	payload, ok, err := gate.Admit(e)
	if err != nil || !ok {
		return err
	}
	records, err := DecodeRecords(payload)
	if err != nil {
		return err
	}
	return d.ReplayAll(records)
}

// publish makes img the current image, tells the publishers, and then whoever
// waits. judge is called with the lock held, together with the change.
func (l *Loader) publish(old, img *Image, judge func()) {
	l.current.Store(img)
	for _, p := range l.publishers {
		p.call(old, img)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	judge()
	l.settled = img
	close(l.changed)
	l.changed = make(chan struct{})
}
