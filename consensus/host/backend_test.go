package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

// fileBackend is a backend of one replica that leads at once, in a new term each
// time its group is opened, and keeps its log in a file. What a proposal says
// makes it misbehave.
type fileBackend struct {
	dir     string
	options struct {
		StartError string `json:"start_error"`
		FailGroup  bool   `json:"fail_group"` // every time it is opened
		Transfer   string `json:"transfer"`   // "works" or "hangs"; otherwise there is nobody to hand over to
		SlowMillis int    `json:"slow_ms"`    // until a proposal is committed
		Endless    int    `json:"endless"`    // the log has entries of so many bytes without end
	}
}

// Proposals that are orders to the backend.
const (
	orderCrash   = "crash"           // the process exits at once
	orderPanic   = "panic"           // a goroutine of its own panics
	orderStorage = "storage"         // the log cannot be written
	orderReject  = "reject"          // rejected, and not appended
	orderHold    = "hold"            // never decided
	orderDeaf    = "stop-reading-in" // the loop's age grows
	orderSync    = "sync"            // a sync begins and does not end
	orderSynced  = "synced"          // it ends
	orderFail    = "fail-group"      // the group fails, the process does not
)

// windowKey is the environment variable that changes how many proposals may be in
// flight, which are few otherwise.
const windowKey = "FILE_BACKEND_WINDOW"

func (b *fileBackend) Describe() consensus.Description {
	window, err := strconv.ParseUint(os.Getenv(windowKey), 10, 32)
	if err != nil {
		window = 8
	}
	return consensus.Description{
		Backend: "file", Version: "1", Capabilities: []consensus.Capability{consensus.CapPreVote, consensus.CapLeaderTransfer},
		Limits: consensus.Limits{
			MaxGroups: 2, MaxMembers: 1, MaxProposalBytes: 1 << 20, MaxInflightProposals: uint32(window), MaxInflightBytes: 4 << 20,
		},
		ConfigSchema: json.RawMessage(`{"type":"object"}`),
	}
}

func (b *fileBackend) Validate(options json.RawMessage) []consensus.Diagnostic {
	if bytes.Contains(options, []byte(`"nonsense"`)) {
		return []consensus.Diagnostic{{Path: "nonsense", Message: "is not an option"}, {Path: "other", Message: "is bad too"}}
	}
	return nil
}

func (b *fileBackend) Start(_ context.Context, cfg consensus.StartConfig) error {
	b.dir = cfg.DataDir
	if len(cfg.Options) > 0 {
		if err := json.Unmarshal(cfg.Options, &b.options); err != nil {
			return fmt.Errorf("%w: %w", consensus.ErrInvalidArgument, err)
		}
	}
	switch b.options.StartError {
	case "storage":
		return fmt.Errorf("%w: the disk is on fire", consensus.ErrStorageFailed)
	case "port":
		return errors.New("listen on 127.0.0.1:9193: address already in use")
	}
	return nil
}

func (b *fileBackend) BoundPeerAddress() string   { return "127.0.0.1:1" }
func (b *fileBackend) Stop(context.Context) error { return nil }

func (b *fileBackend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	g := &fileGroup{backend: b, path: filepath.Join(b.dir, fmt.Sprintf("group-%d", spec.ID)), more: make(chan struct{}), failed: make(chan struct{})}
	if b.options.FailGroup {
		close(g.failed)
	}
	return g, g.open(spec.Mode)
}

type fileGroup struct {
	backend *fileBackend
	path    string
	failed  chan struct{}

	mu        sync.Mutex
	file      *os.File
	term      uint64
	entries   []consensus.Entry // entries[i].Index == first+i
	first     uint64
	more      chan struct{}
	snapshot  []byte
	meta      consensus.SnapshotMeta
	deafSince time.Time
	syncSince time.Time
	given     bool   // leadership was handed over
	read      uint64 // bytes, of an endless log
}

func (g *fileGroup) open(mode consensus.OpenMode) error {
	g.first = 1
	f, err := os.OpenFile(g.path, os.O_RDWR|os.O_APPEND, 0o600)
	switch {
	case errors.Is(err, os.ErrNotExist) && mode == consensus.OpenRecover:
		return fmt.Errorf("%w: no data", consensus.ErrDataIncompatible)
	case errors.Is(err, os.ErrNotExist):
		f, err = os.OpenFile(g.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err != nil {
		return err
	}
	g.file = f
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e consensus.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return err
		}
		g.entries = append(g.entries, e)
		g.term = e.Term
	}
	g.term++
	_, err = g.append(consensus.Entry{Internal: true})
	return err
}

// append writes an entry of the current term; the caller holds mu, or is alone.
func (g *fileGroup) append(e consensus.Entry) (uint64, error) {
	e.Index, e.Term = g.first+uint64(len(g.entries)), g.term
	line, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	if _, err := g.file.Write(append(line, '\n')); err != nil {
		return 0, err
	}
	g.entries = append(g.entries, e)
	close(g.more)
	g.more = make(chan struct{})
	return e.Index, nil
}

func (g *fileGroup) Failed() <-chan struct{} { return g.failed }
func (g *fileGroup) Err() error              { return errors.New("as ordered") }

func (g *fileGroup) TransferLeadership(ctx context.Context, _ uint64) error {
	if g.backend.options.Transfer == "hangs" {
		<-ctx.Done()
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.given = true
	close(g.more)
	g.more = make(chan struct{})
	return os.WriteFile(g.path+"-handed-over", nil, 0o600)
}

func (g *fileGroup) Leadership() (consensus.Leadership, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.given {
		return consensus.Leadership{Term: g.term + 1, Leader: 8}, g.more
	}
	ready := g.first
	for _, e := range g.entries {
		if e.Internal && e.Term == g.term {
			ready = e.Index
		}
	}
	return consensus.Leadership{Term: g.term, Leader: 7, Role: consensus.LeaderReady, ReadyIndex: ready}, g.more
}

func (g *fileGroup) Propose(_ uint64, data []byte, done func(consensus.Result)) {
	switch string(data) {
	case orderCrash:
		os.Exit(consensus.ExitBug)
	case orderPanic:
		go panic("as ordered")
	case orderStorage:
		done(consensus.Result{Err: fmt.Errorf("%w: no space left", consensus.ErrStorageFailed)})
	case orderReject:
		done(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrTransferPending})
	case orderHold:
	case orderDeaf:
		g.mu.Lock()
		g.deafSince = time.Now()
		g.mu.Unlock()
	case orderSync:
		g.mu.Lock()
		g.deafSince = time.Now()
		g.syncSince = time.Now()
		g.mu.Unlock()
	case orderSynced:
		g.mu.Lock()
		g.deafSince, g.syncSince = time.Time{}, time.Time{}
		g.mu.Unlock()
	case orderFail:
		close(g.failed)
	default:
		g.mu.Lock()
		index, err := g.append(consensus.Entry{Data: data})
		g.mu.Unlock()
		if err != nil {
			done(consensus.Result{Err: err})
			return
		}
		time.AfterFunc(time.Duration(g.backend.options.SlowMillis)*time.Millisecond, func() {
			done(consensus.Result{Outcome: consensus.Committed, Index: index})
		})
	}
}

func (g *fileGroup) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.backend.options.Endless; n > 0 {
		g.read += uint64(n)
		return []consensus.Entry{{Index: from, Term: 1, Data: make([]byte, n)}}, from, nil, nil
	}
	end := g.first + uint64(len(g.entries))
	switch {
	case from < g.first:
		return nil, end - 1, nil, consensus.ErrCompacted
	case from > end:
		return nil, end - 1, nil, consensus.ErrAheadOfLog
	case from == end:
		return nil, end - 1, g.more, nil
	}
	var run []consensus.Entry
	for _, e := range g.entries[from-g.first:] {
		if maxBytes -= len(e.Data); maxBytes < 0 && len(run) > 0 {
			break
		}
		run = append(run, e)
	}
	return run, end - 1, nil, nil
}

func (g *fileGroup) ReadIndex(context.Context) (uint64, uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.first + uint64(len(g.entries)) - 1, g.term, nil
}

func (g *fileGroup) SaveSnapshot(_ context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Index <= g.meta.Index {
		return consensus.ErrSnapshotStale
	}
	m.Size = uint64(len(content))
	g.meta, g.snapshot = m, content
	g.entries = g.entries[m.Index+1-g.first:]
	g.first = m.Index + 1
	return nil
}

func (g *fileGroup) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.snapshot == nil {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	return g.meta, io.NopCloser(bytes.NewReader(g.snapshot)), nil
}

func (g *fileGroup) SnapshotWanted() (uint64, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.entries) > 20 {
		return g.entries[0].Index + 10, g.more
	}
	return 0, g.more
}

func (g *fileGroup) Members() consensus.Membership {
	m := consensus.Membership{ConfigIndex: 1, Members: []consensus.Member{{ReplicaID: 7, BrokerID: 7, Address: "127.0.0.1:1", Role: consensus.Voter}}}
	if g.backend.options.Transfer != "" {
		m.Members = append(m.Members, consensus.Member{ReplicaID: 8, BrokerID: 8, Address: "127.0.0.1:2", Role: consensus.Voter})
	}
	return m
}

func (g *fileGroup) Status() consensus.Status {
	l, _ := g.Leadership()
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.first + uint64(len(g.entries)) - 1
	return consensus.Status{Leadership: l, FirstIndex: g.first, LastIndex: last, CommitIndex: last, SnapshotIndex: g.meta.Index, LogBytes: g.read}
}

func (g *fileGroup) LoopAge() (time.Duration, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deafSince.IsZero() {
		return 0, 0
	}
	if g.syncSince.IsZero() {
		return time.Since(g.deafSince), 0
	}
	return time.Since(g.deafSince), time.Since(g.syncSince)
}

func (g *fileGroup) Close() error   { return g.file.Close() }
func (g *fileGroup) Destroy() error { return errors.Join(g.Close(), os.Remove(g.path)) }
