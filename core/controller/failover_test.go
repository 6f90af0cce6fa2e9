package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func TestClusterForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(2, 1)
		c.allIn()
		for id, n := range c.node { // through any node, visible there at once
			n.mustCreate(fmt.Sprint("from-", id), 2, 3)
		}
		img := c.node[1].images.Current()
		b, ok := img.Broker(3)
		if !ok || b.Epoch != c.node[3].registration.Epoch() || b.Cluster.Port != 7003 || b.Cluster.Security != "SSL" || len(b.Listeners) != 1 || b.Listeners[0].Name != "clients" {
			t.Errorf("broker 3 is registered as %+v", b)
		}
		if img.ClusterID != "test" {
			t.Errorf("cluster %q", img.ClusterID)
		}
		before := len(c.log.Entries())
		time.Sleep(10 * time.Second)
		if after := len(c.log.Entries()); after != before {
			t.Errorf("%d entries while nothing happened", after-before)
		}
	})
}

func TestDeadLeaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		c.kill(3)
		c.eventually("broker 3 leads nothing and is in no isr", c.node[1].controller.cfg.ProbeAfter*2, func() bool {
			for p := range 3 {
				if got := c.node[2].partition("orders", p); got.Leader == 3 || len(got.ISR) != 2 {
					return false
				}
			}
			return true
		})
		old := c.node[3].registration.Epoch()
		c.start(3)
		c.allIn()
		if now := c.node[3].registration.Epoch(); now <= old {
			t.Errorf("registered with epoch %d after %d", now, old)
		}
	})
}

func TestHungBrokerIsFencedWhenItsSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		c.node[3].stop() // its sockets stay open: a probe does not tell
		c.node[3].done.Wait()
		fenced := func() bool { b, _ := c.node[1].images.Current().Broker(3); return b.Fenced }
		time.Sleep(time.Second)
		if fenced() {
			t.Fatal("fenced before its session ended")
		}
		c.eventually("broker 3 is fenced", time.Second, fenced)
	})
}

func TestLastReplicaComesBackWithANewEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.log.Elect(1, 1)
		c.allIn()
		var name string
		for n := 0; name == ""; n++ { // one that broker 2 holds alone
			try := fmt.Sprint("t", n)
			c.node[1].mustCreate(try, 1, 1)
			if c.node[1].partition(try, 0).Leader == 2 {
				name = try
			}
		}
		c.kill(2)
		c.eventually("the partition has no leader", time.Second, func() bool { return c.node[1].partition(name, 0).Leader == metadata.NoLeader })
		if p := c.node[1].partition(name, 0); len(p.ISR) != 1 || p.ISR[0] != 2 || p.LeaderEpoch != 1 {
			t.Errorf("without a leader: %+v", p)
		}
		c.start(2)
		c.eventually("broker 2 leads again", time.Second, func() bool { return c.node[1].partition(name, 0).Leader == 2 })
		if p := c.node[1].partition(name, 0); p.LeaderEpoch != 2 {
			t.Errorf("with a leader again: %+v", p)
		}
	})
}

func TestQuickRestartIsANewEpochAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 1, 1)
		c.kill(1)
		c.start(1)
		c.log.Elect(1, 2)
		c.allIn()
		c.eventually("the partition is led", time.Second, func() bool { return c.node[1].partition("orders", 0).Leader == 1 })
		if p := c.node[1].partition("orders", 0); p.LeaderEpoch != 2 {
			t.Errorf("%+v", p)
		}
	})
}

func TestControllerFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[2].mustCreate("orders", 3, 3)
		c.kill(1)
		c.log.Elect(2, 2)
		c.eventually("the dead controller leads nothing", 200*time.Millisecond, func() bool {
			for p := range 3 {
				if c.node[3].partition("orders", p).Leader == 1 {
					return false
				}
			}
			return true
		})
		c.node[3].mustCreate("after", 1, 2)
		for _, id := range []int32{2, 3} {
			if b, _ := c.node[2].images.Current().Broker(id); b.Fenced {
				t.Errorf("broker %d was fenced by the failover", id)
			}
		}
	})
}

func TestHungControllerIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.set(c.hung, 1, true) // heartbeats to it wait
		time.Sleep(500 * time.Millisecond)
		c.log.Elect(2, 2)
		c.eventually("the new controller hears from broker 3", 200*time.Millisecond, func() bool {
			now := time.Now()
			term := c.node[2].controller.active.Load()
			return term != nil && term.live.silence(3, now) < now.Sub(term.live.start)
		})
		before := len(c.log.Entries())
		time.Sleep(5 * time.Second)
		if after := len(c.log.Entries()); after != before {
			t.Error("broker 3 waited for the hung controller and lost its session with the new one")
		}
	})
}

func TestControlledShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		epoch := c.node[3].registration.Epoch()
		if err := c.node[3].registration.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		for p := range 3 {
			if got := c.node[1].partition("orders", p); got.Leader == 3 || len(got.ISR) != 2 {
				t.Errorf("partition %d: %+v", p, got)
			}
		}
		time.Sleep(5 * time.Second)
		if b, _ := c.node[1].images.Current().Broker(3); !b.Fenced || b.Epoch != epoch {
			t.Errorf("it came back: %+v", b)
		}
		c.kill(3)
		c.start(3)
		c.allIn()
		if b, _ := c.node[1].images.Current().Broker(3); b.InControlledShutdown {
			t.Error("still leaving after a restart")
		}
	})
}

func TestTwoProcessesOfOneBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.log.Elect(1, 1)
		c.allIn()
		first := c.node[2]
		second := c.start(2)
		time.Sleep(5 * time.Second)
		if first.registration.Fenced() || !second.registration.Fenced() {
			t.Error("the second process took the first one's place")
		}
		first.stop()
		first.done.Wait()
		c.allIn()
	})
}

func TestForeignClusterStopsTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		n := c.node[1]
		cfg := n.registration.cfg
		cfg.ClusterID = "other"
		foreign := NewRegistration(cfg, n.client, n.fake, n.images, slog.New(slog.DiscardHandler))
		if err := foreign.Run(t.Context()); protocol.CodeOf(err) != protocol.InconsistentClusterID && !errors.Is(err, protocol.Errorf(protocol.InconsistentClusterID, "")) {
			t.Errorf("got %v", err)
		}
		other := New(cfg.Config, n.fake, n.images, c, slog.New(slog.DiscardHandler))
		if err := other.Run(t.Context()); err == nil {
			t.Error("a controller decides over another cluster's log")
		}
	})
}

// A broker that is not ready, because its logs are still being recovered, stays
// fenced and is let in the moment it is.
func TestNotLetInBeforeItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		n := c.node[1]
		ready := make(chan struct{})
		cfg := n.registration.cfg
		cfg.BrokerID, cfg.Incarnation, cfg.Ready = 2, metadata.UUID{}, ready
		slow := NewRegistration(cfg, n.client, n.fake, n.images, slog.New(slog.DiscardHandler))
		n.done.Go(func() { _ = slow.Run(t.Context()) })
		time.Sleep(10 * time.Second)
		if slow.Epoch() < 0 || !slow.Fenced() {
			t.Errorf("epoch %d, fenced %v: want a registration that waits", slow.Epoch(), slow.Fenced())
		}
		close(ready)
		time.Sleep(cfg.HeartbeatInterval / 2)
		if slow.Fenced() {
			t.Error("ready and still fenced")
		}
		n.stop()
	})
}
