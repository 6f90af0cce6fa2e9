package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/core/metadata"
)

// recoveryReport is what a recovery would do, and lose.
type recoveryReport struct {
	Cluster   string           `json:"cluster"`
	Node      int32            `json:"node"` // that recovers
	Backend   string           `json:"backend"`
	Survivors []survivorReport `json:"survivors"`
	From      int32            `json:"from"`              // the node whose metadata is taken
	Archive   string           `json:"archive,omitempty"` // or the file
	Has       string           `json:"has"`
	Lost      []int32          `json:"lost_nodes"`

	// Undecided are the first and the last entry that are not known to be committed,
	// and are kept; 0 if there is none.
	Undecided [2]uint64 `json:"undecided_entries"`
	// Absent are the partitions without a replica on a survivor.
	Absent []string `json:"partitions_without_a_replica"`
	// OutOfSync are those whose replicas on survivors were not in sync.
	OutOfSync []string `json:"partitions_out_of_sync"`
	// Unknown are those on this node's disk that the metadata does not give to it.
	Unknown []string `json:"partitions_unknown"`
}

type survivorReport struct {
	Node      int32     `json:"node"`
	Dir       string    `json:"data_dir"`
	Term      uint64    `json:"term"`
	LastTerm  uint64    `json:"last_term"`
	LastIndex uint64    `json:"last_index"`
	Committed uint64    `json:"known_committed"`
	Snapshot  uint64    `json:"snapshot"`
	Written   time.Time `json:"last_written"`
}

func newRecoveryReport(cfg configs.Config, found []survivor, best survivor) recoveryReport {
	r := recoveryReport{
		Cluster: cfg.Cluster.ID, Node: cfg.Node.ID, Backend: cfg.Consensus.Backend, From: best.node, Has: inventory(best.image),
		Lost: []int32{}, Absent: []string{}, OutOfSync: []string{},
	}
	var alive []int32
	for _, s := range found {
		alive = append(alive, s.node)
		r.Survivors = append(r.Survivors, survivorReport{
			Node: s.node, Dir: s.dir, Term: s.extent.Term, LastTerm: s.extent.LastTerm, LastIndex: s.extent.LastIndex,
			Committed: s.extent.Committed, Snapshot: s.extent.SnapshotIndex, Written: s.written,
		})
	}
	for b := range best.image.Brokers() {
		if !slices.Contains(alive, b.ID) {
			r.Lost = append(r.Lost, b.ID)
		}
	}
	slices.Sort(r.Lost)
	if e := best.extent; e.Committed < e.LastIndex {
		r.Undecided = [2]uint64{e.Committed + 1, e.LastIndex}
	}
	r.addPartitions(best.image, alive)
	return r
}

func (r *recoveryReport) addPartitions(img *metadata.Image, alive []int32) {
	among := func(replicas []int32) bool {
		return slices.ContainsFunc(replicas, func(id int32) bool { return slices.Contains(alive, id) })
	}
	for t := range img.Topics() {
		for n, p := range t.Partitions {
			name := fmt.Sprintf("%s-%d", t.Name, n)
			switch {
			case !among(p.Replicas):
				r.Absent = append(r.Absent, name)
			case !among(p.ISR):
				r.OutOfSync = append(r.OutOfSync, name)
			}
		}
	}
	slices.Sort(r.Absent)
	slices.Sort(r.OutOfSync)
}

// others are the nodes that must not come back with what they had.
func (r recoveryReport) others() string {
	if len(r.Lost) == 0 {
		return "the other nodes"
	}
	return "nodes " + ids(r.Lost)
}

func (r recoveryReport) print(w io.Writer) error {
	fmt.Fprintf(w, "Recovery of cluster %s by node %d, backend %s. What is left of the metadata log:\n\n", r.Cluster, r.Node, r.Backend)
	var rows [][]any
	for _, s := range r.Survivors {
		committed := fmt.Sprint(s.Committed)
		if s.Committed == s.Snapshot && s.Committed < s.LastIndex {
			committed = "not written down"
		}
		rows = append(rows, []any{s.Node, s.Dir, s.Term, fmt.Sprintf("%d of term %d", s.LastIndex, s.LastTerm), committed, s.Written.Format(time.DateTime)})
	}
	if err := printTable(w, []string{"node", "data directory", "term", "last entry", "known committed", "last written"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nTaken from node %d: %s.\n\nWhat may be lost:\n", r.From, r.Has)
	for _, line := range r.losses() {
		fmt.Fprintf(w, "  - %s\n", line)
	}
	_, err := fmt.Fprintf(w, "\nNode %d becomes the only voter. The nodes that are lost (%s) must never be started with their old data again.\n\n", r.Node, orNone(ids(r.Lost)))
	return err
}

// losses are sentences.
func (r recoveryReport) losses() []string {
	i := slices.IndexFunc(r.Survivors, func(s survivorReport) bool { return s.Node == r.From })
	from := r.Survivors[i]
	out := []string{fmt.Sprintf("Every change to topics, settings and leaders that the lost nodes agreed on behind entry %d of term %d: node %d does not have it. What it has was last written at %s.",
		from.LastIndex, from.LastTerm, from.Node, from.Written.Format(time.DateTime))}
	if r.Undecided[0] > 0 {
		out = append(out, fmt.Sprintf("Nothing of entries %d to %d, which are here and not known to be committed: they are kept. A change whose author was told that it failed may be among them.", r.Undecided[0], r.Undecided[1]))
	}
	if n := len(r.Unknown); n > 0 {
		out = append(out, fmt.Sprintf("All records of %s on node %d's disk: the metadata does not give them to it, and it removes such partitions when it starts. Copy its data directory first: %s.", plural(n, "partition"), r.Node, some(r.Unknown)))
	}
	out = append(out, "Records that were acknowledged with acks=1, or by leaders that this log does not know of.")
	if n := len(r.Absent); n > 0 {
		out = append(out, fmt.Sprintf("All records of %s without a replica on a node that is left. They are unavailable until their topics are deleted or their replicas restored: %s.", plural(n, "partition"), some(r.Absent)))
	}
	if n := len(r.OutOfSync); n > 0 {
		out = append(out, fmt.Sprintf("The newest records of %s whose replicas here were not in sync. They stay without a leader: %s.", plural(n, "partition"), some(r.OutOfSync)))
	}
	return out
}

// maxNamed is how many partitions are named; -o json has all.
const maxNamed = 20

func some(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more (-o json has all)", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
