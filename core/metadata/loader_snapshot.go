package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

// install reads the backend's newest snapshot and publishes it if it is ahead
// of the current image. It waits while the backend is not available.
func (l *Loader) install(ctx context.Context) error {
	for {
		img, err := l.readSnapshot(ctx)
		switch {
		case err == nil && img.Index > l.Current().Index:
			l.log.Info("metadata snapshot installed", "index", img.Index, "term", img.Term)
			l.publish(l.Current(), img, func() { l.ended.restart(img.Gate) })
			return nil
		case err == nil:
			// Nothing newer: the backend compacted past us and has yet to show
			// the snapshot that it did it for.
			l.log.Warn("metadata log is compacted but its snapshot is old", "index", img.Index)
			return pause(ctx, l.cfg.RetryPause)
		case errors.Is(err, consensus.ErrUnavailable), errors.Is(err, consensus.ErrTimeout):
			if err := pause(ctx, l.cfg.RetryPause); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func (l *Loader) readSnapshot(ctx context.Context) (*Image, error) {
	meta, r, err := l.client.Snapshot(ctx, l.group)
	if err != nil {
		return nil, fmt.Errorf("open metadata snapshot: %w", err)
	}
	img, err := readSnapshotAs(meta, r)
	if closeErr := r.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close metadata snapshot: %w", closeErr)
	}
	return img, err
}

func readSnapshotAs(meta consensus.SnapshotMeta, r io.Reader) (*Image, error) {
	if meta.Format != SnapshotFormat {
		return nil, fmt.Errorf("metadata snapshot %d has format %q, want %q", meta.Index, meta.Format, SnapshotFormat)
	}
	img, err := ReadSnapshot(r)
	if err != nil {
		return nil, err
	}
	if img.Index != meta.Index || img.Term != meta.Term {
		return nil, fmt.Errorf("metadata snapshot of index %d, term %d holds index %d, term %d", meta.Index, meta.Term, img.Index, img.Term)
	}
	return img, nil
}

// saveSnapshots saves the newest image whenever the backend wants a snapshot
// that it covers: one at a time, from an image that nobody changes, while the
// log goes on.
func (l *Loader) saveSnapshots(ctx context.Context) error {
	saved := uint64(0)
	for ctx.Err() == nil {
		wanted, changed := l.client.SnapshotWanted(l.group)
		img, newer := l.newest()
		if wanted > saved && img.Index >= wanted {
			saved = l.trySave(ctx, img, saved)
			continue
		}
		if wanted <= saved {
			newer = nil
		}
		select {
		case <-changed:
		case <-newer:
		case <-ctx.Done():
		}
	}
	return nil
}

// trySave saves img and returns the index that is saved now. After a failure it
// pauses: the backend goes on wanting a snapshot.
func (l *Loader) trySave(ctx context.Context, img *Image, saved uint64) uint64 {
	err := l.saveSnapshot(ctx, img)
	if err == nil {
		return img.Index
	}
	l.log.Warn("metadata snapshot not saved", "index", img.Index, "error", err)
	t := time.NewTimer(10 * l.cfg.RetryPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return saved
}

// saveSnapshot streams img to the backend. A newer one there is as good.
func (l *Loader) saveSnapshot(ctx context.Context, img *Image) error {
	var writer sync.WaitGroup
	defer writer.Wait()
	r, w := io.Pipe()
	defer r.Close() //nolint:errcheck // always nil; it ends the writer
	writer.Go(func() { w.CloseWithError(img.WriteSnapshot(w)) })
	meta := consensus.SnapshotMeta{Index: img.Index, Term: img.Term, Format: SnapshotFormat}
	err := l.client.SaveSnapshot(ctx, l.group, meta, r)
	if errors.Is(err, consensus.ErrSnapshotStale) {
		return nil
	}
	if err == nil {
		l.log.Debug("metadata snapshot saved", "index", img.Index, "term", img.Term)
	}
	return err
}

// pause waits, and returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
