package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newTopic() *cobra.Command {
	conn := &connection{}
	cmd := parent(&cobra.Command{Use: "topic", Short: "Create, list, describe, trim, move and delete topics"},
		newTopicCreate(conn), newTopicList(conn), newTopicDescribe(conn), newTopicDelete(conn), newTopicTrim(conn), newTopicReassign(conn))
	conn.register(cmd)
	return cmd
}

func newTopicCreate(conn *connection) *cobra.Command {
	var partitions int32
	var replicas int16
	var settings []string
	cmd := &cobra.Command{
		Use:     "create NAME...",
		Short:   "Create topics",
		Example: "  quorate topic create orders --partitions 6 --replicas 3 --config retention.ms=86400000",
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			configs, err := parseSettings(settings)
			if err != nil {
				return err
			}
			return conn.talk(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				created, err := kadm.NewClient(client).CreateTopics(ctx, partitions, replicas, configs, names...)
				if err != nil {
					return explain(err, "")
				}
				done := topicIDs{}
				for _, t := range created {
					if t.Err == nil {
						done[t.Topic] = t.ID
					}
				}
				if err := shownEverywhere(ctx, client, cmd.ErrOrStderr(), done, true); err != nil {
					return err
				}
				return eachName(names, func(name string) error {
					t := created[name]
					if t.Err != nil {
						return fmt.Errorf("create topic %s: %w", name, explain(t.Err, t.ErrMessage))
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "created %s: %s, %s\n", name, plural(t.NumPartitions, "partition"), plural(t.ReplicationFactor, "replica"))
					return err
				})
			})
		},
	}
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "`number` of partitions (-1: the broker's num.partitions)")
	cmd.Flags().Int16VarP(&replicas, "replicas", "r", -1, "`number` of replicas of each partition (-1: the broker's default.replication.factor)")
	cmd.Flags().StringArrayVarP(&settings, "config", "c", nil, "a setting of the topic, `key=value`; may be repeated")
	return cmd
}

// eachName calls f for every name, and returns all errors, a line each.
func eachName(names []string, f func(name string) error) error {
	var errs []error
	for _, name := range slices.Compact(slices.Clone(names)) {
		errs = append(errs, f(name))
	}
	return errors.Join(errs...)
}

func parseSettings(settings []string) (map[string]*string, error) {
	out := make(map[string]*string, len(settings))
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef("--config %q is not key=value", s)
		}
		out[key] = &value
	}
	return out, nil
}

// topicRow is a topic as `topic list` shows it.
type topicRow struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
}

func newTopicList(conn *connection) *cobra.Command {
	var out output
	var internal bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				topics, err := adm.ListTopicsWithInternal(ctx)
				if err != nil {
					return explain(err, "")
				}
				list, rows := []topicRow{}, [][]any{}
				for _, t := range topics.Sorted() {
					if t.IsInternal && !internal {
						continue
					}
					row := topicRow{t.Topic, topicID(t.ID), len(t.Partitions), t.Partitions.NumReplicas(), t.IsInternal}
					list = append(list, row)
					rows = append(rows, []any{row.Name, row.Partitions, row.Replicas, row.ID})
				}
				return out.print(cmd.OutOrStdout(), list, []string{"name", "partitions", "replicas", "id"}, rows)
			})
		},
	}
	out.register(cmd)
	cmd.Flags().BoolVar(&internal, "internal", false, "also the broker's own topics")
	return cmd
}

// partitionRow is a partition as `topic describe` shows it.
type partitionRow struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       int64   `json:"start"`
	End         int64   `json:"end"`
}

type topicDescription struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Configs    map[string]string `json:"configs"` // those that were set
	Partitions []partitionRow    `json:"partitions"`
}

func newTopicDescribe(conn *connection) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic's partitions, leaders, replicas and settings",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				d, err := describeTopic(ctx, adm, args[0])
				if err != nil {
					return err
				}
				if out.format == "table" {
					fmt.Fprintf(cmd.OutOrStdout(), "topic %s, id %s\n", d.Name, d.ID)
					for _, k := range slices.Sorted(maps.Keys(d.Configs)) {
						fmt.Fprintf(cmd.OutOrStdout(), "  %s=%s\n", k, d.Configs[k])
					}
				}
				var rows [][]any
				for _, p := range d.Partitions {
					rows = append(rows, []any{p.Partition, p.Leader, p.LeaderEpoch, ids(p.Replicas), ids(p.ISR), p.Start, p.End})
				}
				return out.print(cmd.OutOrStdout(), d, []string{"partition", "leader", "epoch", "replicas", "isr", "start", "end"}, rows)
			})
		},
	}
	out.register(cmd)
	return cmd
}

func describeTopic(ctx context.Context, adm *kadm.Client, name string) (topicDescription, error) {
	topics, err := partitionsOf(ctx, adm, name)
	if err != nil {
		return topicDescription{}, err
	}
	t := topics[name]
	starts, err := adm.ListStartOffsets(ctx, name)
	if err != nil {
		return topicDescription{}, err
	}
	ends, err := adm.ListEndOffsets(ctx, name)
	if err != nil {
		return topicDescription{}, err
	}
	d := topicDescription{Name: name, ID: topicID(t.ID), Configs: map[string]string{}}
	for _, p := range t.Partitions.Sorted() {
		row := partitionRow{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, -1, -1}
		if o, ok := starts.Lookup(name, p.Partition); ok && o.Err == nil {
			row.Start = o.Offset
		}
		if o, ok := ends.Lookup(name, p.Partition); ok && o.Err == nil {
			row.End = o.Offset
		}
		d.Partitions = append(d.Partitions, row)
	}
	return d, topicSettings(ctx, adm, name, d.Configs)
}

// topicSettings fills in the settings that the topic has itself.
func topicSettings(ctx context.Context, adm *kadm.Client, name string, into map[string]string) error {
	resources, err := adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return err
	}
	r, err := resources.On(name, nil)
	if err != nil {
		return err
	}
	for _, c := range r.Configs {
		if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" && c.Value != nil {
			into[c.Key] = *c.Value
		}
	}
	return r.Err
}

func newTopicDelete(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and their records",
		Args:  arguments(1, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return conn.talk(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				deleted, err := kadm.NewClient(client).DeleteTopics(ctx, names...)
				if err != nil {
					return explain(err, "")
				}
				done := topicIDs{}
				for _, t := range deleted {
					if t.Err == nil {
						done[t.Topic] = t.ID
					}
				}
				if err := shownEverywhere(ctx, client, cmd.ErrOrStderr(), done, false); err != nil {
					return err
				}
				return eachName(names, func(name string) error {
					if t := deleted[name]; t.Err != nil {
						return fmt.Errorf("delete topic %s: %w", name, explain(t.Err, t.ErrMessage))
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", name)
					return err
				})
			})
		},
	}
}
