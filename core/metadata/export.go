package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/consensus"
)

// Export returns the image of everything that is committed, read from a backend
// while no broker proposes: brokers are stopped, a majority of backends runs.
// Every replica that exports gets the same records.
//
// It is complete when an entry of the current leader's term has been applied:
// whatever was committed in earlier terms comes before it.
func Export(ctx context.Context, client consensus.Client, g consensus.GroupID, log *slog.Logger) (*Image, error) {
	var out *Image
	err := follow(ctx, client, g, log, func(ctx context.Context, l *Loader) (err error) {
		out, err = complete(ctx, client, g, l)
		return err
	})
	return out, err
}

// follow runs a loader while f does its work with it.
func follow(ctx context.Context, client consensus.Client, g consensus.GroupID, log *slog.Logger, f func(context.Context, *Loader) error) error {
	l := NewLoader(client, g, DefaultLoaderConfig(), log)
	running, stop := context.WithCancel(ctx)
	defer stop()
	tasks, running := errgroup.WithContext(running)
	tasks.Go(func() error { return l.Run(running) })
	tasks.Go(func() error {
		defer stop()
		return f(running, l)
	})
	err := tasks.Wait()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: is a majority of the backends running?", ctx.Err())
	}
	return err
}

// complete waits until the image holds everything that is committed.
func complete(ctx context.Context, client consensus.Client, g consensus.GroupID, l *Loader) (*Image, error) {
	for {
		changed := l.Changed()
		leadership, moved := client.LeaderFor(g)
		img := l.Current()
		if leadership.Leader != consensus.NoLeader && img.Term == leadership.Term && img.Index >= leadership.ReadyIndex {
			return img, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		case <-moved:
		}
	}
}

// ErrNotEmpty means that a log that something is to be imported into has
// metadata already, and other than what is to be imported.
var ErrNotEmpty = errors.New("the metadata log is not empty")

// Import puts an image into the empty log of a group, and returns when this
// replica has it. Every replica imports the same image; the one that leads
// proposes it, the others watch. What was imported completely before is left as
// it is; what was imported in part is refused with ErrNotEmpty.
func Import(ctx context.Context, client consensus.Client, g consensus.GroupID, img *Image, log *slog.Logger) error {
	return follow(ctx, client, g, log, func(ctx context.Context, l *Loader) error {
		return (&importer{client: client, group: g, images: l, want: img}).run(ctx)
	})
}

type importer struct {
	client consensus.Client
	group  consensus.GroupID
	images *Loader
	want   *Image
	// proposed is the term in which this replica began to propose.
	proposed uint64
}

func (i *importer) run(ctx context.Context) error {
	for {
		changed := i.images.Changed()
		leadership, moved := i.client.LeaderFor(i.group)
		img := i.images.Current()
		switch {
		case img.SameRecords(i.want):
			return nil
		case leadership.Role == consensus.LeaderReady && img.Index >= leadership.ReadyIndex && img.Term == leadership.Term && i.proposed != leadership.Term:
			if !img.SameRecords(Empty()) {
				return ErrNotEmpty
			}
			i.proposed = leadership.Term
			if err := i.propose(ctx, leadership.Term); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-moved:
		}
	}
}

// propose proposes the image's records as the first proposals of a term.
func (i *importer) propose(ctx context.Context, term uint64) error {
	sequence := uint64(0)
	for records := range i.want.chunks() {
		payload, err := EncodeRecords(records)
		if err != nil {
			return err
		}
		sequence++
		if err := i.proposeOne(ctx, term, sequence, payload); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	return nil
}

func (i *importer) proposeOne(ctx context.Context, term, sequence uint64, payload []byte) error {
	envelope := consensus.Envelope{ExpectedTerm: term, Sequence: sequence, Payload: payload}
	p := consensus.Proposal{Group: i.group, Term: term, Sequence: sequence, Data: envelope.Append(nil)}
	for {
		result := i.client.Propose(ctx, p)
		if errors.Is(result.Err, consensus.ErrOverloaded) {
			if err := pauseFor(ctx, 10*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		if result.Outcome == consensus.Rejected {
			return fmt.Errorf("the proposal was refused: %w", result.Err)
		}
		_, outcome, err := i.images.Resolve(ctx, term, sequence)
		if err == nil && outcome == consensus.Rejected {
			err = errors.New("the leader changed in the middle")
		}
		return err
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
