package kit

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus/consensuspb"
)

// Strange fields must be in every message, at every depth, and change nothing
// that the receiver knows.
func TestStrange(t *testing.T) {
	m := &consensuspb.OpenGroupRequest{
		GroupId: 7, InitialMembers: []*consensuspb.Member{{ReplicaId: 1}, {ReplicaId: 2}}, Tuning: &consensuspb.GroupTuning{RetainBytes: 3},
	}
	wire, err := proto.Marshal(strange(m))
	if err != nil {
		t.Fatal(err)
	}
	got := &consensuspb.OpenGroupRequest{}
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []proto.Message{got, got.GetInitialMembers()[0], got.GetInitialMembers()[1], got.GetTuning()} {
		if len(inside.ProtoReflect().GetUnknown()) != len(strangeFields) {
			t.Errorf("%T has %d bytes that nobody knows, want %d", inside, len(inside.ProtoReflect().GetUnknown()), len(strangeFields))
		}
		inside.ProtoReflect().SetUnknown(nil)
	}
	if !proto.Equal(got, m) {
		t.Errorf("got %v, want %v", got, m)
	}
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		t.Error("the sender's own message was changed")
	}
}
