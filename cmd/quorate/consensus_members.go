package main

import (
	"net"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin"
)

func newConsensusDemote(nodes *adminNodes) *cobra.Command {
	return &cobra.Command{
		Use:   "demote REPLICA",
		Short: "Make a voter a learner: it receives the log, and does not count for the quorum",
		Long: `Make a voter a learner: it receives the log, and does not count for the quorum. Do
it before a node is away for long, so that the others' majority does not depend on
it; promote it when it is back.`,
		Example: `  quorate consensus demote 3`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeByID(cmd, nodes, args[0], "demote", "is a learner now")
		},
	}
}

func newConsensusSetAddress(nodes *adminNodes) *cobra.Command {
	return &cobra.Command{
		Use:   "set-address REPLICA HOST:PORT",
		Short: "Tell the replicas where one of them is from now on",
		Long: `Tell the replicas where one of them is from now on. Do it, then stop the node, change
consensus/peer/advertise in its config file, and start it at its new place.`,
		Example: `  quorate consensus set-address 3 node3-new:9193`,
		Args:    arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := net.SplitHostPort(args[1]); err != nil {
				return usagef("%q is not where the other replicas could dial it: an address is host:port, such as node3:9193", args[1])
			}
			id, err := replicaID(args[0])
			if err != nil {
				return err
			}
			return changeMember(cmd, nodes, "is at "+args[1]+" now", admin.MemberChange{
				Op: "set-address", Member: admin.Member{Replica: id, Address: args[1]},
			})
		},
	}
}
