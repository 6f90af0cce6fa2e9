package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func newGroup() *cobra.Command {
	conn := &connection{}
	cmd := parent(&cobra.Command{Use: "group", Short: "List, describe and delete consumer groups"},
		newGroupList(conn), newGroupDescribe(conn), newGroupDelete(conn))
	conn.register(cmd)
	return cmd
}

type groupRow struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Protocol    string `json:"protocol"`
	Coordinator int32  `json:"coordinator"`
}

func newGroupList(conn *connection) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List consumer groups",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				groups, err := adm.ListGroups(ctx)
				if err != nil {
					return explain(err, "")
				}
				list, rows := []groupRow{}, [][]any{}
				for _, g := range groups.Sorted() {
					row := groupRow{g.Group, g.State, g.ProtocolType, g.Coordinator}
					list = append(list, row)
					rows = append(rows, []any{row.Group, row.State, row.Protocol, row.Coordinator})
				}
				return out.print(cmd.OutOrStdout(), list, []string{"group", "state", "protocol", "coordinator"}, rows)
			})
		},
	}
	out.register(cmd)
	return cmd
}

type groupOffsetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
	Member    string `json:"member,omitempty"`
	Host      string `json:"host,omitempty"`
}

type groupDescription struct {
	Group       string           `json:"group"`
	State       string           `json:"state"`
	Protocol    string           `json:"protocol"`
	Coordinator int32            `json:"coordinator"`
	Members     int              `json:"members"`
	Offsets     []groupOffsetRow `json:"offsets"`
}

func newGroupDescribe(conn *connection) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a group's members, offsets and lag",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				d, err := describeGroup(ctx, adm, args[0])
				if err != nil {
					return err
				}
				if out.format == "table" {
					fmt.Fprintf(cmd.OutOrStdout(), "group %s: %s, %s, coordinator %d\n", d.Group, d.State, plural(d.Members, "member"), d.Coordinator)
				}
				var rows [][]any
				for _, o := range d.Offsets {
					rows = append(rows, []any{o.Topic, o.Partition, o.Committed, o.End, o.Lag, o.Member, o.Host})
				}
				return out.print(cmd.OutOrStdout(), d, []string{"topic", "partition", "committed", "end", "lag", "member", "host"}, rows)
			})
		},
	}
	out.register(cmd)
	return cmd
}

func describeGroup(ctx context.Context, adm *kadm.Client, name string) (groupDescription, error) {
	lags, err := adm.Lag(ctx, name)
	if err != nil {
		return groupDescription{}, explain(err, "")
	}
	l, ok := lags[name]
	if err := l.Error(); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return groupDescription{}, fmt.Errorf("group %s: %w", name, explain(err, ""))
	} else if err != nil || !ok || l.State == "Dead" { // which is how Kafka says that there is none
		return groupDescription{}, fmt.Errorf("there is no group %q", name)
	}
	d := groupDescription{
		Group: name, State: l.State, Protocol: l.Protocol, Coordinator: l.Coordinator.NodeID,
		Members: len(l.Members), Offsets: []groupOffsetRow{},
	}
	for _, m := range l.Lag.Sorted() {
		row := groupOffsetRow{Topic: m.Topic, Partition: m.Partition, Committed: m.Commit.At, End: m.End.Offset, Lag: m.Lag}
		if m.Member != nil {
			row.Member, row.Host = m.Member.MemberID, m.Member.ClientHost
		}
		d.Offsets = append(d.Offsets, row)
	}
	return d, nil
}

func newGroupDelete(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete consumer groups without members, and their offsets",
		Args:  arguments(1, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				deleted, err := adm.DeleteGroups(ctx, names...)
				if err != nil {
					return explain(err, "")
				}
				return eachName(names, func(name string) error {
					if g := deleted[name]; g.Err != nil {
						return fmt.Errorf("delete group %s: %w", name, explain(g.Err, ""))
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", name)
					return err
				})
			})
		},
	}
}
