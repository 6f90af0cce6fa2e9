package arch

import (
	"fmt"
	"slices"
	"strings"
)

// Rule forbids imports, and says why.
type Rule struct {
	Name    string
	Because string
	// Forbids reports whether the rule forbids from to import to.
	Forbids func(from, to string) bool
	// Example is an import that the rule forbids; the rule's own test.
	Example [2]string
	// Tests are bound by the rule as well as the code.
	Tests bool
}

// floors, lowest first. A package imports packages of lower floors only; one
// that is not listed takes the floor of its closest listed parent.
var floors = []struct {
	floor    float64
	packages []string
}{
	{0, []string{"protocol", "protocol/record", "consensus"}},
	{0.5, []string{"core/wal", "core/metadata", "core/auth", "core/quota", "consensus/consensuspb", "consensus/peertls", "consensus/sdk/queue", "consensus/sdk/watched", "consensus/sdk/options", "consensus/sdk/faults", "consensus/sdk/detector", "consensus/consensustest/ports", "core/metadata/metadatapb"}},
	{1, []string{"core/replica", "core/interbroker", "consensus/internal/wire", "consensus/sdk/snapshot"}},
	{2, []string{"core/coordinator", "core/controller", "consensus/sdk", "consensus/host", "consensus/consensustest"}},
	{3, []string{"core/group", "core/txn"}},
	{4, []string{"core/server", "core/api", "core/admin"}},
	{5, []string{"core", "plugins"}},
	{6, []string{"configs", "test/lab"}},
	{7, []string{"cmd"}},
	{8, []string{"test"}},
}

// sameFloor are the imports between neighbours that are meant.
var sameFloor = [][2]string{
	{"protocol/record", "protocol"},
	{"core/metadata", "core/metadata/metadatapb"},
	{"core/wal", "core/wal/disk"}, // its parts too: one interface for all that is on disk
	{"consensus/host", "consensus/sdk"},
	{"consensus/consensustest", "consensus/host"}, // the kit drives backends through the client that the broker uses
	{"plugins", "plugins/seglog"},
	{"cmd/quorate/workbench", "cmd/quorate/scratch"}, // the folder that the workbench works in
}

// Rules is the whole list; the only truth about who imports whom.
var Rules = []Rule{{
	Name:    "floors",
	Because: "a package imports lower floors only, so that data flows one way and every room can be read without those above it",
	Forbids: climbs,
	Example: [2]string{"core/wal", "core/replica"},
}, {
	Name:    "protocol stands alone",
	Because: "the vocabulary of the wire stays readable alone",
	Forbids: func(from, to string) bool { return under(from, "protocol") && ours(to) && !under(to, "protocol") },
	Example: [2]string{"protocol", "consensus"},
	Tests:   true,
}, {
	Name:    "the contract stands alone",
	Because: "the vocabulary of consensus stays readable alone, and a fake needs no gRPC",
	Forbids: func(from, to string) bool { return from == "consensus" && (ours(to) || spoken(to)) },
	Example: [2]string{"consensus", "google.golang.org/grpc"},
	Tests:   true,
}, {
	Name:    "core sees the contract only",
	Because: "the core runs in tests without files or processes, and knows no backend",
	Forbids: func(from, to string) bool {
		return under(from, "core") && (strings.HasPrefix(to, "consensus/") || under(to, "configs") || under(to, "plugins"))
	},
	Example: [2]string{"core/controller", "consensus/host"},
}, {
	Name:    "plugins build elsewhere",
	Because: "a plugin must build outside this repository; what it replicates is opaque to it",
	Forbids: func(from, to string) bool {
		return under(from, "plugins") && (under(to, "core") || under(to, "protocol") || under(to, "configs") || under(to, "consensus/host"))
	},
	Example: [2]string{"plugins/etcdraft", "core/metadata"},
	Tests:   true,
}, {
	Name:    "the server does not know the APIs",
	Because: "server calls a Handler that it declares; core joins the two",
	Forbids: func(from, to string) bool { return from == "core/server" && to == "core/api" },
	Example: [2]string{"core/server", "core/api"},
	Tests:   true,
}, {
	Name:    "handlers go through replica",
	Because: "leadership, epochs and acknowledgements are decided in replica; a handler that wrote to the log itself would pass them by",
	Forbids: func(from, to string) bool { return from == "core/api" && to == "core/wal" },
	Example: [2]string{"core/api", "core/wal"},
}, {
	Name:    "the log knows batches, not requests",
	Because: "what is on disk and what is decided must not depend on the shape of a request",
	Forbids: func(from, to string) bool {
		return (from == "core/wal" || from == "core/metadata") && to == "github.com/twmb/franz-go/pkg/kmsg"
	},
	Example: [2]string{"core/metadata", "github.com/twmb/franz-go/pkg/kmsg"},
}, {
	Name:    "one place speaks to plugins",
	Because: "only sdk, host and internal/wire know how plugins are spoken to",
	Forbids: func(from, to string) bool {
		return spoken(to) && !slices.Contains([]string{
			"consensus/sdk", "consensus/host", "consensus/internal/wire", "consensus/consensuspb",
			"consensus/consensustest/kit", // which says what no host says, on the connection that the host has made
		}, from)
	},
	Example: [2]string{"plugins/etcdraft", "github.com/hashicorp/go-plugin"},
	Tests:   true,
}}

// Check returns every violation in the tree, one sentence each.
func Check(tree Tree) []string {
	var out []string
	for _, i := range tree.Imports {
		for _, r := range Rules {
			if i.Test && !r.Tests {
				continue
			}
			if r.Forbids(i.From, i.To) {
				out = append(out, fmt.Sprintf("%s: %s must not import %s (%s): %s", i.Where, i.From, i.To, r.Name, r.Because))
			}
		}
	}
	for _, p := range tree.Packages {
		if n := len(p.Comments); n != 1 {
			out = append(out, fmt.Sprintf("%s: %d package comments %v, want exactly one that says what the package is for", p.Path, n, p.Comments))
		}
	}
	slices.Sort(out)
	return out
}

func climbs(from, to string) bool {
	f, ok := floorOf(from)
	t, known := floorOf(to)
	if !ok || !known || from == to || t < f {
		return false
	}
	for _, s := range sameFloor {
		if t == f && under(from, s[0]) && under(to, s[1]) {
			return false
		}
	}
	// A folder's own parts: core/x/internal and the like.
	return !under(to, from) || t > f
}

func floorOf(path string) (float64, bool) {
	best, floor := -1, 0.0
	for _, f := range floors {
		for _, p := range f.packages {
			if under(path, p) && len(p) > best {
				best, floor = len(p), f.floor
			}
		}
	}
	return floor, best >= 0
}

// under reports whether path is folder or lies below it.
func under(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func ours(path string) bool {
	_, ok := floorOf(path)
	return ok
}

// spoken are the libraries that plugins are spoken to with.
func spoken(path string) bool {
	return under(path, "google.golang.org/grpc") || under(path, "github.com/hashicorp/go-plugin")
}
