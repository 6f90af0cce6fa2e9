package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// reassignPoll is how often it is looked whether reassignments are over.
const reassignPoll = 200 * time.Millisecond

// reassignment is the flags of `topic reassign`.
type reassignment struct {
	conn     *connection
	from, to int32
	list     bool
	cancel   bool
	wait     bool
	out      output
}

func newTopicReassign(conn *connection) *cobra.Command {
	r := &reassignment{conn: conn}
	cmd := &cobra.Command{
		Use:   "reassign [NAME...]",
		Short: "Move the replicas of one broker to another",
		Long: `Move the replicas of one broker to another: of the topics that are named, or of
all, the broker's own included.

The new replica is added and catches up while the partition is written and read as
before; once it is in sync, the old one goes. --wait returns when all have gone.`,
		Example: `  quorate topic reassign --from 1 --to 4 --wait
  quorate topic reassign --list
  quorate topic reassign --cancel orders`,
		Args: arguments(0, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := r.check(cmd); err != nil {
				return err
			}
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error { return r.run(ctx, cmd, adm, names) })
		},
	}
	cmd.Flags().Int32Var(&r.from, "from", 0, "the `broker` whose replicas move")
	cmd.Flags().Int32Var(&r.to, "to", 0, "the `broker` that gets them")
	cmd.Flags().BoolVar(&r.list, "list", false, "only list what is being reassigned")
	cmd.Flags().BoolVar(&r.cancel, "cancel", false, "give up what is being reassigned; the old replicas stay")
	cmd.Flags().BoolVar(&r.wait, "wait", false, "return when it is done; see --timeout")
	r.out.register(cmd)
	return cmd
}

func (r *reassignment) check(cmd *cobra.Command) error {
	moves := cmd.Flags().Changed("from") && cmd.Flags().Changed("to")
	switch {
	case r.list && r.cancel, (r.list || r.cancel) && (cmd.Flags().Changed("from") || cmd.Flags().Changed("to")):
		return usagef("give --from and --to, or --list, or --cancel")
	case !r.list && !r.cancel && !moves:
		return usagef("reassign needs --from BROKER and --to BROKER, or --list, or --cancel")
	case moves && r.from == r.to:
		return usagef("--from and --to are the same broker")
	}
	return nil
}

func (r *reassignment) run(ctx context.Context, cmd *cobra.Command, adm *kadm.Client, names []string) error {
	switch {
	case r.list:
		return r.print(ctx, cmd, adm, names)
	case r.cancel:
		return r.stop(ctx, cmd, adm, names)
	}
	topics, err := partitionsOf(ctx, adm, names...)
	if err != nil {
		return err
	}
	var req kadm.AlterPartitionAssignmentsReq
	partitions := 0
	for _, t := range topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			if replicas, moved := r.target(p.Replicas); moved {
				req.Assign(t.Topic, p.Partition, replicas)
				partitions++
			}
		}
	}
	if partitions == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "broker %d has no replicas there\n", r.from)
		return err
	}
	if err := alterAssignments(ctx, adm, req); err != nil {
		return err
	}
	if !r.wait {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s of broker %d move to broker %d; see quorate topic reassign --list\n", plural(partitions, "partition"), r.from, r.to)
		return err
	}
	if err := r.awaitEnd(ctx, adm, names); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of broker %d moved to broker %d\n", plural(partitions, "partition"), r.from, r.to)
	return err
}

// target is replicas with the one broker in the place of the other. A broker that has
// a replica already can not get another one: then the one that goes is not replaced.
func (r *reassignment) target(replicas []int32) ([]int32, bool) {
	at := slices.Index(replicas, r.from)
	if at < 0 {
		return nil, false
	}
	out := slices.Clone(replicas)
	if slices.Contains(out, r.to) {
		return slices.Delete(out, at, at+1), true
	}
	out[at] = r.to
	return out, true
}

func alterAssignments(ctx context.Context, adm *kadm.Client, req kadm.AlterPartitionAssignmentsReq) error {
	resp, err := adm.AlterPartitionAssignments(ctx, req)
	if err != nil {
		return explain(err, "")
	}
	for _, p := range resp.Sorted() {
		if p.Err != nil {
			return fmt.Errorf("reassign %s-%d: %w", p.Topic, p.Partition, explain(p.Err, p.ErrMessage))
		}
	}
	return nil
}

// underWay asks for the reassignments of the topics that are named, or of all.
func underWay(ctx context.Context, adm *kadm.Client, names []string) ([]kadm.ListPartitionReassignmentsResponse, error) {
	var asked kadm.TopicsSet
	if len(names) > 0 {
		topics, err := partitionsOf(ctx, adm, names...)
		if err != nil {
			return nil, err
		}
		asked = topics.TopicsSet()
	}
	resp, err := adm.ListPartitionReassignments(ctx, asked)
	if err != nil {
		return nil, explain(err, "")
	}
	return resp.Sorted(), nil
}

func (r *reassignment) awaitEnd(ctx context.Context, adm *kadm.Client, names []string) error {
	tick := time.NewTicker(reassignPoll)
	defer tick.Stop()
	for {
		left, err := underWay(ctx, adm, names)
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &explainedError{fmt.Sprintf("%s are not in sync on their new brokers yet; it goes on, see quorate topic reassign --list", plural(len(left), "partition")), ctx.Err()}
		}
	}
}

func (r *reassignment) stop(ctx context.Context, cmd *cobra.Command, adm *kadm.Client, names []string) error {
	left, err := underWay(ctx, adm, names)
	if err != nil {
		return err
	}
	var req kadm.AlterPartitionAssignmentsReq
	for _, p := range left {
		req.CancelAssign(p.Topic, p.Partition)
	}
	if len(left) > 0 {
		if err := alterAssignments(ctx, adm, req); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "gave up the reassignment of %s\n", plural(len(left), "partition"))
	return err
}

// reassignRow is a partition that is being reassigned.
type reassignRow struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
	Adding    []int32 `json:"adding"`
	Removing  []int32 `json:"removing"`
}

func (r *reassignment) print(ctx context.Context, cmd *cobra.Command, adm *kadm.Client, names []string) error {
	left, err := underWay(ctx, adm, names)
	if err != nil {
		return err
	}
	list, rows := []reassignRow{}, [][]any{}
	for _, p := range left {
		row := reassignRow{p.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas}
		list = append(list, row)
		rows = append(rows, []any{row.Topic, row.Partition, ids(row.Replicas), ids(row.Adding), ids(row.Removing)})
	}
	return r.out.print(cmd.OutOrStdout(), list, []string{"topic", "partition", "replicas", "adding", "removing"}, rows)
}
