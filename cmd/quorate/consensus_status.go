package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin"
)

func newConsensusStatus(nodes *adminNodes) *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the replicas of the metadata log and their plugins",
		Example: `  quorate consensus status
  quorate consensus status --admin node1:9644,node2:9644,node3:9644 -o json`,
		Args: arguments(0, 0),
	}
	out.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := nodes.ask(cmd.Context())
		if err != nil {
			return err
		}
		var statuses []admin.ConsensusStatus
		for _, a := range all {
			if a.err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), a.err)
				continue
			}
			statuses = append(statuses, a.status)
		}
		return out.print(cmd.OutOrStdout(), statuses, statusHeader, statusRows(statuses))
	}
	return cmd
}

var statusHeader = []string{
	"node", "replica", "role", "term", "last", "commit", "applied", "lag", "drops", "backend", "sha256", "pid", "restarts", "state", "hop p50", "hop p99", "commit p99", "fsync p99",
}

// statusRows has a row for each node that answered, and one for each other
// replica that the leader among them tells of.
func statusRows(statuses []admin.ConsensusStatus) [][]any {
	var rows [][]any
	var commit uint64
	asked := map[uint64]bool{} // by replica
	for _, s := range statuses {
		commit = max(commit, s.Replica.CommitIndex)
		for _, m := range s.Config.Members {
			if m.Broker == s.Node {
				asked[m.Replica] = true
			}
		}
	}
	for _, s := range statuses {
		rows = append(rows, statusRow(s, commit))
	}
	for _, s := range statuses {
		if s.Replica.Role == "leader-ready" {
			rows = append(rows, peerRows(s, asked)...)
		}
	}
	return rows
}

func statusRow(s admin.ConsensusStatus, commit uint64) []any {
	var drops uint64
	for _, p := range s.Peers {
		drops += p.Dropped
	}
	state := s.Plugin.State
	if s.Plugin.CrashLoop {
		state += " (crash loop)"
	}
	r := s.Replica
	return []any{
		s.Node, replicaOn(s), r.Role, r.Term, r.LastIndex, r.CommitIndex, r.AppliedIndex, commit - min(commit, r.AppliedIndex), drops,
		s.Backend + " " + s.Version, short(s.Plugin.SHA256), s.Plugin.PID, s.Plugin.Restarts, state,
		milliseconds(s.Plugin.HopP50), milliseconds(s.Plugin.HopP99), milliseconds(s.Plugin.CommitP99), milliseconds(s.Plugin.FsyncP99),
	}
}

// replicaOn is the id of a node's replica, the newest if a former one is not removed
// yet. It is the node's own at first, and a new one after a lost disk.
func replicaOn(s admin.ConsensusStatus) any {
	var id uint64
	for _, m := range s.Config.Members {
		if m.Broker == s.Node {
			id = max(id, m.Replica)
		}
	}
	if id == 0 {
		return "-"
	}
	return id
}

// peerRows tells of replicas that were not asked, as far as the leader knows.
func peerRows(leader admin.ConsensusStatus, asked map[uint64]bool) [][]any {
	var rows [][]any
	for _, p := range leader.Peers {
		if asked[p.Replica] {
			continue
		}
		node, role := any("-"), "unknown"
		for _, m := range leader.Config.Members {
			if m.Replica == p.Replica {
				node, role = m.Broker, m.Role
			}
		}
		last := leader.Replica.LastIndex
		rows = append(rows, []any{node, p.Replica, role, "-", p.Match, "-", "-", last - min(last, p.Match), p.Dropped, "-", "-", "-", "-", p.State, "-", "-", "-", "-"})
	}
	return rows
}

// short is the beginning of a checksum, which tells builds apart; -o json has all of it.
func short(sum string) string {
	if sum == "" {
		return "-"
	}
	return sum[:min(len(sum), 12)]
}

// milliseconds is a duration of the table; 0 is one that is not known.
func milliseconds(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return strconv.FormatFloat(ms, 'g', 3, 64) + "ms"
}
