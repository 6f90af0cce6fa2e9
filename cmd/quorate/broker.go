package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newBroker() *cobra.Command {
	conn := &connection{}
	cmd := parent(&cobra.Command{Use: "broker", Short: "List brokers, and forget those that are gone for good"},
		newBrokerList(conn), newBrokerUnregister(conn))
	conn.register(cmd)
	return cmd
}

// brokerRow is a broker as `broker list` shows it.
type brokerRow struct {
	ID       int32  `json:"id"`
	Address  string `json:"address"`
	Rack     string `json:"rack"`
	Fenced   bool   `json:"fenced"`
	Replicas int    `json:"replicas"`
	Leads    int    `json:"leads"`
}

func newBrokerList(conn *connection) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the brokers that are registered, also those that are down",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.talk(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				list, err := brokers(ctx, client)
				if err != nil {
					return explain(err, "")
				}
				var rows [][]any
				for _, b := range list {
					state := "up"
					if b.Fenced {
						state = "fenced"
					}
					rows = append(rows, []any{b.ID, b.Address, b.Rack, state, b.Replicas, b.Leads})
				}
				return out.print(cmd.OutOrStdout(), list, []string{"id", "address", "rack", "state", "replicas", "leads"}, rows)
			})
		},
	}
	out.register(cmd)
	return cmd
}

// brokers asks for the brokers, and counts what each has.
func brokers(ctx context.Context, client *kgo.Client) ([]brokerRow, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeFencedBrokers = true
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	topics, err := kadm.NewClient(client).ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	replicas, leads := map[int32]int{}, map[int32]int{}
	topics.EachPartition(func(p kadm.PartitionDetail) {
		leads[p.Leader]++
		for _, id := range p.Replicas {
			replicas[id]++
		}
	})
	list := []brokerRow{}
	for _, b := range resp.Brokers {
		row := brokerRow{ID: b.NodeID, Address: fmt.Sprintf("%s:%d", b.Host, b.Port), Fenced: b.IsFenced, Replicas: replicas[b.NodeID], Leads: leads[b.NodeID]}
		if b.Rack != nil {
			row.Rack = *b.Rack
		}
		list = append(list, row)
	}
	return list, nil
}

func newBrokerUnregister(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "unregister BROKER",
		Short: "Forget a broker that is gone for good and has no replicas",
		Long: `Forget a broker that is gone for good and has no replicas. Its replica of the
metadata log is another matter: see quorate consensus remove.`,
		Example: `  quorate broker unregister 1`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || id < 0 {
				return usagef("%q is not the id of a broker", args[0])
			}
			return conn.talk(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
				req := kmsg.NewPtrUnregisterBrokerRequest()
				req.BrokerID = int32(id)
				resp, err := req.RequestWith(ctx, client)
				if err != nil {
					return explain(err, "")
				}
				if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
					message := ""
					if resp.ErrorMessage != nil {
						message = *resp.ErrorMessage
					}
					return fmt.Errorf("unregister broker %d: %w", id, explain(err, message))
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "broker %d is forgotten\n", id)
				return err
			})
		},
	}
}
