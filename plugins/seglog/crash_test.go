package seglog

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// seeds is how many random runs there are; more find more.
var seeds = flag.Int("seeds", 100, "how many random runs to do")

var quiet = slog.New(slog.DiscardHandler)

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.CacheBytes, cfg.Spares, cfg.FillStep, cfg.FillPause = 2<<10, 512, 1, 4<<10, 0
	return cfg
}

// model is what the log should hold, as a value.
type model map[uint64]modelGroup

type modelGroup struct {
	state   State
	mark    Mark
	entries []Entry
}

func (g modelGroup) last() uint64 { return g.mark.CompactedIndex + uint64(len(g.entries)) }

func (m model) dump() string {
	var b strings.Builder
	for id := range uint64(8) {
		if g, ok := m[id]; ok {
			fmt.Fprintf(&b, "group %d %+v mark %d/%d %d/%d %q\n", id, g.state, g.mark.Term, g.mark.Index,
				g.mark.CompactedTerm, g.mark.CompactedIndex, g.mark.Data)
			for _, e := range g.entries {
				fmt.Fprintf(&b, "  %d/%d %d %x\n", e.Term, e.Index, e.Type, e.Data)
			}
		}
	}
	return b.String()
}

func dumpLog(t *testing.T, l *Log) string {
	t.Helper()
	m := model{}
	for _, id := range l.Groups() {
		info, _ := l.Info(id)
		g := modelGroup{state: info.State, mark: info.Mark}
		for i := info.First; i <= info.Last; {
			es, err := l.Entries(id, i, info.Last+1, 300)
			if err != nil {
				t.Fatalf("entries of %d from %d: %v", id, i, err)
			}
			g.entries = append(g.entries, es...)
			i += uint64(len(es))
		}
		m[id] = g
	}
	return m.dump()
}

// steps returns the model after each record of w, in order.
func (m model) steps(w Write) (steps []model) {
	g := m[w.Group]
	step := func() {
		next := maps.Clone(m)
		next[w.Group] = g
		steps = append(steps, next)
	}
	if w.Mark != nil {
		i := w.Mark.CompactedIndex - g.mark.CompactedIndex
		switch {
		case i > uint64(len(g.entries)), i > 0 && g.entries[i-1].Term != w.Mark.CompactedTerm:
			g.entries = nil
		default:
			g.entries = g.entries[i:]
		}
		g.mark = *w.Mark
		step()
	}
	if len(w.Entries) > 0 && w.Entries[0].Index <= g.last() {
		g.entries = slices.Clip(g.entries[:w.Entries[0].Index-g.mark.CompactedIndex-1])
		step()
	}
	for _, e := range w.Entries {
		g.entries = append(slices.Clip(g.entries), e)
		step()
	}
	if w.State != nil {
		g.state = *w.State
		step()
	}
	if w.Delete {
		next := maps.Clone(m)
		delete(next, w.Group)
		steps = append(steps, next)
	}
	return steps
}

// randomWrite makes up something that raft could ask for.
func randomWrite(rng *rand.Rand, m model, id uint64) Write {
	g, w := m[id], Write{Group: id}
	if rng.IntN(40) == 0 && id == 3 {
		w.Delete = true
		return w
	}
	if rng.IntN(6) == 0 && len(g.entries) > 0 { // a snapshot, the log compacted behind it
		at := g.entries[rng.IntN(len(g.entries))]
		if at.Index >= g.mark.Index {
			behind := g.entries[rng.IntN(int(at.Index-g.mark.CompactedIndex))]
			w.Mark = &Mark{at.Index, at.Term, behind.Index, behind.Term, []byte("saved")}
			g.entries, g.mark = g.entries[behind.Index-g.mark.CompactedIndex:], *w.Mark
		}
	} else if rng.IntN(15) == 0 { // one of a leader, which replaces the log
		at := g.last() + rng.Uint64N(5) + 1
		w.Mark = &Mark{at, g.state.Term, at, g.state.Term, []byte("installed")}
		g.entries, g.mark = nil, *w.Mark
	}
	first := g.last() + 1
	if back := uint64(rng.IntN(4)); rng.IntN(5) == 0 && first > g.mark.Index+back+1 {
		first -= back
	}
	for i := range rng.IntN(5) {
		data := make([]byte, rng.IntN(120))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		w.Entries = append(w.Entries, Entry{first + uint64(i), g.state.Term, uint8(rng.IntN(3)), data})
	}
	if rng.IntN(2) == 0 || w.Mark == nil && w.Entries == nil {
		w.State = &State{g.state.Term + uint64(rng.IntN(2)), rng.Uint64N(4), rng.Uint64N(1 << 20)}
	}
	return w
}

func TestCrashKeepsWhatWasSyncedAndNothingThatWasNot(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { crashRun(t, uint64(seed)) })
	}
}

func crashRun(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	disk := newCrashFS(rng)
	possible := []model{{}}
	for round := range 8 {
		disk.budget = 1 << 30
		if round%3 == 1 { // the power may fail while recovering, too
			disk.budget = rng.IntN(12)
		}
		l, err := open("/log", testConfig(), disk, quiet)
		if errors.Is(err, errPowerCut) {
			disk = disk.crash()
			continue
		}
		if err != nil {
			t.Fatalf("round %d: open: %v", round, err)
		}
		got := dumpLog(t, l)
		i := slices.IndexFunc(possible, func(m model) bool { return m.dump() == got })
		if i < 0 {
			t.Fatalf("round %d: recovered\n%swant one of %d states from\n%sto\n%s", round, got,
				len(possible), possible[0].dump(), possible[len(possible)-1].dump())
		}
		possible = possible[i : i+1]
		disk.mu.Lock()
		disk.budget = rng.IntN(60)
		disk.mu.Unlock()
		possible = appendUntilPowerCut(t, rng, l, possible)
		_ = l.Close()
		disk = disk.crash()
	}
}

// appendUntilPowerCut returns every state since the last sync, one of which
// must be what is recovered.
func appendUntilPowerCut(t *testing.T, rng *rand.Rand, l *Log, possible []model) []model {
	t.Helper()
	for {
		var batch []Write
		for _, id := range rng.Perm(3)[:1+rng.IntN(3)] {
			m := possible[len(possible)-1]
			w := randomWrite(rng, m, uint64(id+1))
			possible, batch = append(possible, m.steps(w)...), append(batch, w)
		}
		sync := rng.IntN(3) > 0
		if err := l.Append(sync, batch...); err != nil {
			if !errors.Is(err, consensus.ErrStorageFailed) || !errors.Is(err, errPowerCut) {
				t.Fatalf("append: %v", err)
			}
			if again := l.Append(true); !errors.Is(again, consensus.ErrStorageFailed) {
				t.Fatalf("append after a failure: %v", again)
			}
			return possible
		}
		if sync {
			possible = possible[len(possible)-1:]
		}
	}
}
