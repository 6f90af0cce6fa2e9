package host

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
	"github.com/quorate/quorate/consensus/sdk"
)

// bringUp starts a fresh backend behind conn: describe, start, open the groups,
// open the session.
func (c *client) bringUp(ctx context.Context, conn grpc.ClientConnInterface, start consensus.StartConfig, groups []consensus.GroupSpec) (*session, error) {
	description, diagnostics, err := describe(ctx, conn, start.Options)
	if err != nil {
		return nil, err
	}
	c.description.Store(&description)
	if err := c.checkOptions(diagnostics); err != nil {
		return nil, err
	}
	rpc := consensuspb.NewConsensusClient(conn)
	if _, err := rpc.Start(ctx, wire.StartToProto(c.withPeerTLS(start))); err != nil {
		return nil, callError(ctx, "start the backend", err)
	}
	for _, g := range groups {
		if _, err := rpc.OpenGroup(ctx, wire.GroupSpecToProto(g)); err != nil {
			return nil, callError(ctx, "start the backend", err)
		}
	}
	return openSession(ctx, conn, c)
}

// checkOptions logs warnings and returns the errors, all of them, as one.
func (c *client) checkOptions(ds []consensus.Diagnostic) error {
	var problems []string
	for _, d := range ds {
		if d.Warning {
			c.log.Warn("an option of the backend is questionable", "option", d.Path, "problem", d.Message)
			continue
		}
		problems = append(problems, fmt.Sprintf("option %s: %s", d.Path, d.Message))
	}
	if len(problems) == 0 {
		return nil
	}
	return finalError(consensus.ExitConfig, "%w: %s", consensus.ErrInvalidArgument, strings.Join(problems, "; "))
}

// describe asks a backend what it is, and what it thinks of options.
func describe(ctx context.Context, conn grpc.ClientConnInterface, options []byte) (consensus.Description, []consensus.Diagnostic, error) {
	rpc := consensuspb.NewConsensusClient(conn)
	d, err := rpc.Describe(ctx, &consensuspb.DescribeRequest{HostContractMinor: sdk.ContractMinor})
	if err != nil {
		return consensus.Description{}, nil, callError(ctx, "describe the backend", err)
	}
	v, err := rpc.ValidateConfig(ctx, &consensuspb.ValidateConfigRequest{BackendConfig: options})
	if err != nil {
		return consensus.Description{}, nil, callError(ctx, "validate the backend's options", err)
	}
	return wire.DescriptionFromProto(d), wire.DiagnosticsFromProto(v.GetDiagnostics()), nil
}
