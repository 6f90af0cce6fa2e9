package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin"
)

func newConsensusTransfer(nodes *adminNodes) *cobra.Command {
	var to uint64
	cmd := &cobra.Command{
		Use:     "transfer-leader",
		Short:   "Move the leadership of the metadata log to another replica",
		Example: `  quorate consensus transfer-leader --to 2`,
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			leader, err := nodes.leader(cmd.Context())
			if err != nil {
				return err
			}
			if to != 0 && to == leader.status.Replica.Leader {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "replica %d leads already, in term %d\n", to, leader.status.Replica.Term)
				return err
			}
			var now admin.ConsensusStatus
			if err := nodes.post(cmd.Context(), leader.address, "/consensus/transfer-leader", admin.TransferRequest{To: to}, &now); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %d handed over; term %d\n", leader.status.Node, now.Replica.Term)
			return err
		},
	}
	cmd.Flags().Uint64Var(&to, "to", 0, "the `replica` to lead; without it, the one that is best prepared")
	return cmd
}

func newConsensusAdd(nodes *adminNodes) *cobra.Command {
	var address string
	var broker int32
	cmd := &cobra.Command{
		Use:   "add REPLICA --address HOST:PORT",
		Short: "Add a replica of the metadata log, as a learner",
		Long: `Add a replica of the metadata log, as a learner: it receives the log, and does not
count for the quorum until it is promoted. Ids of replicas are never used again,
not even for the same broker after the loss of its disk.`,
		Example: `  quorate consensus add 4 --address node4:9193`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return usagef("--address must be where the other replicas dial it, as host:port")
			}
			id, err := replicaID(args[0])
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("broker") {
				broker = int32(id)
			}
			return changeMember(cmd, nodes, "added as a learner", admin.MemberChange{
				Op: "add", Member: admin.Member{Replica: id, Broker: broker, Address: address},
			})
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "where the other replicas dial it: consensus/peer/advertise of its config")
	cmd.Flags().Int32Var(&broker, "broker", 0, "the broker that it belongs to; the replica's id if it is not given")
	return cmd
}

func newConsensusPromote(nodes *adminNodes) *cobra.Command {
	return &cobra.Command{
		Use:     "promote REPLICA",
		Short:   "Make a learner that has caught up a voter",
		Example: `  quorate consensus promote 4`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeByID(cmd, nodes, args[0], "promote", "is a voter now")
		},
	}
}

func newConsensusRemove(nodes *adminNodes) *cobra.Command {
	return &cobra.Command{
		Use:     "remove REPLICA",
		Short:   "Remove a replica of the metadata log for ever",
		Example: `  quorate consensus remove 3`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeByID(cmd, nodes, args[0], "remove", "removed")
		},
	}
}

func changeByID(cmd *cobra.Command, nodes *adminNodes, arg, op, done string) error {
	id, err := replicaID(arg)
	if err != nil {
		return err
	}
	return changeMember(cmd, nodes, done, admin.MemberChange{Op: op, Member: admin.Member{Replica: id}})
}

func replicaID(arg string) (uint64, error) {
	id, err := strconv.ParseUint(arg, 10, 31) // as far as ids of brokers go
	if err != nil || id == 0 {
		return 0, usagef("%q is not the id of a replica: a number from 1 on", arg)
	}
	return id, nil
}

// changeMember makes one change to the membership as the leader has it now.
func changeMember(cmd *cobra.Command, nodes *adminNodes, done string, change admin.MemberChange) error {
	leader, err := nodes.leader(cmd.Context())
	if err != nil {
		return err
	}
	req := admin.MembersRequest{ConfigIndex: leader.status.Config.Index, Changes: []admin.MemberChange{change}}
	var now admin.Configuration
	if err := nodes.post(cmd.Context(), leader.address, "/consensus/members", req, &now); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "replica %d %s; the metadata log has %s\n", change.Replica, done, count(now))
	return err
}

// count is "3 voters and 1 learner".
func count(c admin.Configuration) string {
	voters, others := 0, 0
	for _, m := range c.Members {
		if m.Role == "voter" {
			voters++
		} else {
			others++
		}
	}
	if others == 0 {
		return plural(voters, "voter")
	}
	return plural(voters, "voter") + " and " + plural(others, "learner")
}
