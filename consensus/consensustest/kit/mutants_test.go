package kit_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest/kit"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

// judge runs the cases that have one of only in their name, or all, width at a
// time, and returns the rules that were found broken, and where.
func judge(t *testing.T, width int, seed uint64, patience time.Duration, wrong mutation, only ...string) (rules []string, report *kit.Report) {
	r, before := newReference(wrong)
	front := kit.InProcess{New: r.New, Environment: func(b consensus.Backend, env map[string]string) {
		if b, ok := b.(*replica); ok {
			b.faults = faults.In(env[faults.DirKey])
		}
	}}
	if wrong.refusesStrange {
		front.Dial = refuseStrange
	}
	o := kit.Options{Level: 3, Quick: true, Seed: seed, Patience: patience, Dir: t.TempDir(), Previous: kit.InProcess{New: before.New}}
	d := r.New().Describe()
	report = kit.NewReport(front, o, d)
	var mu sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, c := range kit.Selected(o) {
		if len(only) > 0 && !slices.ContainsFunc(only, func(part string) bool { return strings.Contains(c.String(), part) }) {
			continue
		}
		if c.Level == 3 && !slices.Contains(withoutNetwork, c.Number) {
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			one := kit.RunCase(t.Context(), front, o, c, d)
			mu.Lock()
			defer mu.Unlock()
			report.Add(one)
		})
	}
	running.Wait()
	for _, one := range report.Results {
		for _, rule := range one.BrokenRules() {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return rules, report
}

// withoutNetwork are the cases of level 3 that the reference can take part in: it
// has no links between its replicas that could be cut.
var withoutNetwork = []int{17, 20, 25, 26}

// refuseStrange is a server that wants to know every field.
var refuseStrange = []grpc.DialOption{grpc.WithChainUnaryInterceptor(
	func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if m, ok := req.(proto.Message); ok && len(m.ProtoReflect().GetUnknown()) > 0 {
			return status.Error(codes.InvalidArgument, "there are fields that nobody knows")
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})}

// The reference keeps every rule: what the kit finds in a mutant is the mutation.
func TestReferencePasses(t *testing.T) {
	if rules, report := judge(t, 4, 1, time.Minute, mutation{}); len(rules) > 0 {
		t.Fatalf("the reference breaks %v:\n%s", rules, report.Text())
	}
}

// What a leader refuses while it is losing the lead breaks nothing, if somebody
// answers at last.
func TestRefusalsAreNoBreach(t *testing.T) {
	if rules, report := judge(t, 2, 1, time.Minute, mutation{refuses: true}, "09 elections", "20 changes are compared"); len(rules) > 0 {
		t.Fatalf("a reference that refuses every other time breaks %v:\n%s", rules, report.Text())
	}
}

// Versions that say that they refuse each other are not judged by how they work
// together, and the report says why.
func TestVersionsThatRefuseEachOther(t *testing.T) {
	this, before := newReference(mutation{})
	this.protocol = 2
	o := kit.Options{Level: 3, Quick: true, Seed: 1, Dir: t.TempDir(), Previous: kit.InProcess{New: before.New}, Only: "26 a rolling"}
	report, err := kit.Run(t.Context(), kit.InProcess{New: this.New}, o, func(kit.Result) {})
	if err != nil {
		t.Fatal(err)
	}
	const want = "peer protocol 1 and this one 2"
	if len(report.Results) != 1 || report.Results[0].Failed() || !strings.Contains(report.Results[0].Skipped, want) {
		t.Errorf("got %+v, want one case that was not run because of %q", report.Results, want)
	}
}

// Whatever ends first, a report has the cases in their order, each once.
func TestRunInParallel(t *testing.T) {
	r, _ := newReference(mutation{})
	o := kit.Options{Level: 1, Quick: true, Seed: 1, Dir: t.TempDir(), Parallel: 3}
	var told []string
	report, err := kit.Run(t.Context(), kit.InProcess{New: r.New}, o, func(one kit.Result) { told = append(told, one.Case.String()) })
	if err != nil {
		t.Fatal(err)
	}
	want := kit.Selected(o)
	if len(report.Results) != len(want) || len(told) != len(want) || !report.Passed() {
		t.Fatalf("%d results, %d were told, want %d:\n%s", len(report.Results), len(told), len(want), report.Text())
	}
	for i, c := range want {
		if report.Results[i].Case.String() != c.String() || !slices.Contains(told, c.String()) {
			t.Errorf("result %d is of %s, want %s", i, report.Results[i].Case, c)
		}
	}
}

// maxSeeds is with how many seeds a mutant is tried.
const maxSeeds = 4

// Every mutant must be caught, with the rule that it breaks named.
func TestMutants(t *testing.T) {
	mutants := []struct {
		name  string
		wrong mutation
		rule  string
		only  string // the case that must catch it
	}{
		{"skip fsync", mutation{skipFsync: true}, "S1", "11 all die"},
		{"ack before sync", mutation{ackBeforeSync: true}, "S1", "11 killed under load"},
		{"deliver uncommitted", mutation{deliverUncommitted: true}, "D1", "09 elections"},
		{"reuse a term", mutation{reuseTerm: true}, "T2", "09 elections"},
		{"reuse a term, one replica", mutation{reuseTerm: true}, "T3", "11 restarts"},
		{"the term falls", mutation{termFalls: true}, "T1", "11 all die"},
		{"forward proposals", mutation{forward: true}, "P4", "10 leaders die"},
		{"snapshot label ahead", mutation{labelAhead: true}, "S4", "18 snapshots older"},
		{"COMMITTED for REJECTED", mutation{commitRejected: true}, "P3", "04 proposals"},
		{"REJECTED for COMMITTED", mutation{rejectCommitted: true}, "P3", "04 proposals"},
		{"hung health", mutation{hungHealth: true}, "L3", "17 health"},
		{"gaps in indexes", mutation{gap: true}, "D2", "04 proposals"},
		{"two leaders in a term", mutation{twoLeaders: true}, "T2", "09 elections"},
		{"append twice", mutation{appendTwice: true}, "P4", "04 proposals"},
		{"no outcome", mutation{noAnswer: true}, "P3", "04 proposals"},
		{"ready early", mutation{readyEarly: true}, "T4", "09 elections"},
		{"never step down", mutation{neverStepsDown: true}, "T5", "13 a leader without"},
		{"stale reads", mutation{staleReads: true}, "R1", "13 a leader without"},
		{"half a snapshot", mutation{halfSnapshots: true}, "S4", "18 snapshots appear"},
		{"compact too far", mutation{keepsNothing: true}, "S5", "18 compaction"},
		{"reorder", mutation{reorder: true}, "P2", "04 proposals"},
		{"replicas differ", mutation{divergent: true}, "D3", "11 all die"},
		{"unknown options are valid", mutation{anyOptions: true}, "L1", "01"},
		{"small proposals only", mutation{smallProposals: true}, "P7", "01"},
		{"refuse unknown fields", mutation{refusesStrange: true}, "V2", "03 fields"},
		{"make unknown changes", mutation{strangeChanges: true}, "V2", "03 enum"},
		{"overloaded too early", mutation{smallWindow: true}, "P6", "06 more proposals"},
		{"go on after a failed sync", mutation{ignoresFaults: true}, "S2", "16 writes and syncs"},
		{"a slow sync costs the lead", mutation{electsWhenSlow: true}, "T7", "17 slow disks"},
		{"no compare and set", mutation{anyConfig: true}, "M1", "20 changes are compared"},
		{"changes are not made", mutation{makesNoChange: true}, "M2", "20 from one"},
		{"removed, and does not say so", mutation{removedFollows: true}, "M3", "20 demoted"},
		{"joins, and says that it was removed", mutation{joinerRemoved: true}, "M3", "20 from one"},
		{"removed, and stands for election", mutation{removedStands: true}, "M3", "20 demoted"},
		{"joins, and stands for election", mutation{joinerStands: true}, "M4", "20 from one"},
		{"learners count", mutation{learnersCount: true}, "LEARNERS", "20 from one"},
		{"half a joint change", mutation{halfJoint: true}, "JOINT_CONSENSUS", "20 several"},
		{"every certificate is good", mutation{believesAll: true}, "PEER_TLS", "25 peers"},
		{"certificates stay", mutation{keepsCertificate: true}, "TLS_RELOAD", "25 certificates"},
		{"earlier data is forgotten", mutation{forgetsOldData: true}, "V5", "26 an upgrade"},
	}
	// They mostly wait, so more of them run at once than there are processors.
	found, reports := make([][]string, len(mutants)), make([]*kit.Report, len(mutants))
	slots := make(chan struct{}, 10)
	var running sync.WaitGroup
	for i, m := range mutants {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// A kill has to hit a moment for some of them: the quick form gets a few.
			for seed := uint64(1); seed <= maxSeeds && !slices.Contains(found[i], m.rule); seed++ {
				found[i], reports[i] = judge(t, 1, seed, 10*time.Second, m.wrong, m.only)
			}
		})
	}
	running.Wait()
	for i, m := range mutants {
		t.Logf("%-32s %-15s caught by %-24s found: %s", m.name, m.rule, m.only, strings.Join(found[i], " "))
		if !slices.Contains(found[i], m.rule) {
			t.Errorf("%s breaks %s, and the kit found %v\n%s", m.name, m.rule, found[i], reports[i].Text())
		}
	}
}
