package etcdraft

import (
	"log/slog"
	"net"
	"reflect"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestAddressBook(t *testing.T) {
	member := func(id uint64, address string) consensus.Member {
		return consensus.Member{ReplicaID: id, Address: address}
	}
	tests := []struct {
		name     string
		groups   []groupAddresses
		visitors map[uint64]string
		want     map[uint64][]string
	}{
		{"nobody", nil, nil, map[uint64][]string{}},
		{
			"members, but not this one",
			[]groupAddresses{{members: []consensus.Member{member(1, "a"), member(2, "b")}}},
			nil,
			map[uint64][]string{2: {"b"}},
		},
		{
			"what the host and the replica say comes behind",
			[]groupAddresses{{members: []consensus.Member{member(2, "b")}, hints: []consensus.Member{member(2, "host")}}},
			map[uint64]string{2: "self"},
			map[uint64][]string{2: {"b", "host", "self"}},
		},
		{
			"the host's members count only until there are some",
			[]groupAddresses{{members: []consensus.Member{member(2, "b")}, hints: []consensus.Member{member(3, "c")}}},
			nil,
			map[uint64][]string{2: {"b"}},
		},
		{
			"a group that is joined",
			[]groupAddresses{{hints: []consensus.Member{member(3, "c")}}},
			map[uint64]string{4: "d"},
			map[uint64][]string{3: {"c"}, 4: {"d"}},
		},
		{
			"a stranger may lead by now",
			[]groupAddresses{{members: []consensus.Member{member(2, "b")}}},
			map[uint64]string{4: "d"},
			map[uint64][]string{2: {"b"}, 4: {"d"}},
		},
		{
			"nothing for a removed replica",
			[]groupAddresses{{members: []consensus.Member{member(2, "b")}, removed: []uint64{4}}},
			map[uint64]string{4: "d"},
			map[uint64][]string{2: {"b"}},
		},
		{
			"unless another group has it",
			[]groupAddresses{{members: []consensus.Member{member(2, "b")}, removed: []uint64{4}}, {members: []consensus.Member{member(4, "d")}}},
			nil,
			map[uint64][]string{2: {"b"}, 4: {"d"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newAddressBook()
			for i, g := range tt.groups {
				b.groups[uint64(i)] = g
			}
			for id, address := range tt.visitors {
				b.visitors[id] = visitor{address: address}
			}
			if got := b.candidates(1); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSenderTriesEveryAddress(t *testing.T) {
	t.Parallel()
	there, _ := newTestTransport(t, 2, 64)
	here, _ := newTestTransport(t, 1, 64)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.Addr().String()
	_ = gone.Close()
	other, _ := newTestTransport(t, 3, 64)
	here.setGroup(1, config{Members: []consensus.Member{
		{ReplicaID: 2, Address: nobody},
	}}, []consensus.Member{{ReplicaID: 2, Address: other.listener.Addr().String()}})
	here.welcome(2, there.advertise, nil)
	eventually(t, "a message to arrive", func() bool {
		here.peer(2).enqueue(1, heartbeat(1, 2, 0), func(uint64) {})
		p := there.peer(1) // known from its hello
		return p != nil && p.lastSeen.Load() > 0
	})
	if got := *there.peer(1).addresses.Load(); len(got) != 1 || got[0] != here.advertise {
		t.Errorf("the visitor is believed to be at %v, it is at %s", got, here.advertise)
	}
}

func TestVisitorWithoutAHostIsWhereItConnectsFrom(t *testing.T) {
	tr, err := newTransport(consensus.StartConfig{ClusterID: "test", ReplicaID: 1, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}},
		64, &noHost{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.stop()
	conn, err := net.Dial("tcp", tr.advertise)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for address, want := range map[string]string{
		"[::]:9193": "127.0.0.1:9193", "0.0.0.0:9193": "127.0.0.1:9193", ":9193": "127.0.0.1:9193",
		"b2:9193": "b2:9193", "b2:0": "", "nonsense": "", "": "",
	} {
		tr.welcome(2, address, conn)
		got := ""
		if p := tr.peer(2); p != nil {
			got = (*p.addresses.Load())[0]
		}
		if got != want {
			t.Errorf("%q: at %q, want %q", address, got, want)
		}
		tr.farewell(2, conn)
		if tr.peer(2) != nil {
			t.Errorf("%q: known after its connection has ended", address)
		}
	}
}
