package core_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core"
)

// freeAddress is an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

func TestJoin(t *testing.T) {
	address := freeAddress(t)
	b := startBroker(t, func(c *core.Config) {
		c.ClusterBind, c.ClusterAdvertise, c.Peers = address, address, map[int32]string{1: address}
		c.ReplicaID, c.API.RequestTimeout = 1, 2*time.Second
	})
	ctx := within(t, 30*time.Second)
	log := slog.New(slog.DiscardHandler)
	newcomer := func(id int32, cluster string) core.Newcomer {
		return core.Newcomer{BrokerID: id, ClusterID: cluster, Peers: map[int32]string{1: address, 7: freeAddress(t)}, ReplicaAddress: "node:7101"}
	}
	_, err := b.client(t).Request(ctx, kmsg.NewPtrMetadataRequest()) // it serves, so it is registered
	must(t, err)

	first, err := core.Join(ctx, newcomer(2, "test"), log)
	must(t, err)
	if first.Replica != 2 || len(first.Members) != 2 || first.Members[1].Address != "node:7101" {
		t.Errorf("got %+v, want replica 2", first)
	}
	// It never started. Asked again, the node gets another id, in the place of the first.
	second, err := core.Join(ctx, newcomer(2, "test"), log)
	must(t, err)
	if second.Replica != 3 || len(second.Members) != 2 {
		t.Errorf("got %+v, want replica 3 in the place of 2", second)
	}
	for name, n := range map[string]core.Newcomer{
		`belongs to cluster "test"`: newcomer(4, "other"),
	} {
		if _, err := core.Join(ctx, n, log); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
	impatient, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if got, err := core.Join(impatient, newcomer(1, "test"), log); err == nil {
		t.Errorf("a node that is alive was replaced: %+v", got)
	}
}

func TestCheckFirstStart(t *testing.T) {
	address := freeAddress(t)
	b := startBroker(t, func(c *core.Config) {
		c.ClusterBind, c.ClusterAdvertise, c.Peers = address, address, map[int32]string{1: address}
	})
	ctx := within(t, 30*time.Second)
	req := kmsg.NewPtrDescribeClusterRequest()
	resp, err := req.RequestWith(ctx, b.client(t))
	must(t, err)
	must(t, kerr.ErrorForCode(resp.ErrorCode))
	tests := []struct {
		name string
		self core.Newcomer
		want string
	}{
		{name: "a new node", self: core.Newcomer{BrokerID: 2, ClusterID: "test", Peers: map[int32]string{2: freeAddress(t), 3: address}}},
		{name: "known", self: core.Newcomer{BrokerID: 1, ClusterID: "test", Peers: map[int32]string{1: freeAddress(t), 3: address}}, want: "set cluster/join: true"},
		{name: "another cluster", self: core.Newcomer{BrokerID: 2, ClusterID: "prod", Peers: map[int32]string{3: address}}, want: `nodes of cluster "test", but cluster/id is "prod"`},
		{name: "nobody is there", self: core.Newcomer{BrokerID: 1, ClusterID: "test", Peers: map[int32]string{3: freeAddress(t)}}},
		{name: "alone", self: core.Newcomer{BrokerID: 1, ClusterID: "test", Peers: map[int32]string{1: address}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := core.CheckFirstStart(ctx, tt.self, slog.New(slog.DiscardHandler))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
