package wire

import (
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// An enum value of a later minor version is taken for unspecified (rule V2).
func TestUnknownEnumValues(t *testing.T) {
	spec := GroupSpecFromProto(&consensuspb.OpenGroupRequest{Mode: 99, InitialMembers: []*consensuspb.Member{{Role: 99}}})
	if spec.Mode != 0 || spec.Members[0].Role != 0 {
		t.Errorf("mode %d, role %d", spec.Mode, spec.Members[0].Role)
	}
	changes := ChangesFromProto([]*consensuspb.MemberChange{{Op: 99}, {Op: consensuspb.MemberChange_OP_REMOVE}})
	if changes[0].Op != 0 || changes[1].Op != consensus.Remove {
		t.Errorf("%+v", changes)
	}
}
