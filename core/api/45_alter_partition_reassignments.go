package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterPartitionReassignments answers AlterPartitionReassignments (key 45), v0 and v1
// (KIP-455).
//
//	v1  allow_replication_factor_change (KIP-860)
func (a *API) alterPartitionReassignments(ctx context.Context, _ *Session, req *kmsg.AlterPartitionAssignmentsRequest) (*kmsg.AlterPartitionAssignmentsResponse, error) {
	resp, err := decide[*kmsg.AlterPartitionAssignmentsResponse](ctx, a, req.TimeoutMillis, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	failed.ErrorCode, failed.ErrorMessage = a.verdict("alter partition reassignments", err)
	return failed, nil
}
