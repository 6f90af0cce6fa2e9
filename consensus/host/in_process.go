package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk"
)

// inProcess is a client whose backend lives in this process.
type inProcess struct {
	*client
	since time.Time
}

// Health implements consensus.Client.
func (p *inProcess) Health() consensus.Health {
	state := StateRunning
	if _, err := p.current(); err != nil {
		state = StateStopped
	}
	return consensus.Health{State: state, Since: p.since}
}

// InProcess starts b in this process and returns a client for it: the server of
// the SDK and the client of the host over an in-memory connection. stop stops
// the backend and must be called; it may be called more than once. The
// connection is made with dial.
func InProcess(ctx context.Context, b consensus.Backend, start consensus.StartConfig, groups []consensus.GroupSpec, dial ...grpc.DialOption) (consensus.Client, func(), error) {
	s := sdk.NewServer(b)
	g := grpc.NewServer(s.Options()...)
	s.Register(g)
	lis := bufconn.Listen(1 << 20)
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(lis) }) // ends with g.Stop, and has nothing else to say
	stopServer := func() {
		g.Stop()
		serving.Wait()
	}
	conn, err := grpc.NewClient("passthrough:in-process", append(dial,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))...)
	if err != nil {
		stopServer()
		return nil, nil, fmt.Errorf("connect to the backend: %w", err)
	}
	c := newClient(groups, slog.Default().With("component", "consensus"))
	session, err := c.bringUp(ctx, conn, start, groups)
	if err != nil {
		shutErr := s.Shutdown(context.WithoutCancel(ctx), false)
		connErr := conn.Close()
		stopServer()
		return nil, nil, errors.Join(err, shutErr, connErr)
	}
	repairing, stopRepair := context.WithCancel(context.WithoutCancel(ctx))
	serving.Go(func() {
		if why := newRepair(conn, groups, c.failures, c.log).run(repairing); why != "" {
			c.fail(errors.New(why)) // there is no process to begin anew with
			session.cancel()
		}
	})
	var once sync.Once
	stop := func() {
		once.Do(func() {
			stopRepair()
			c.fail(consensus.ErrShuttingDown)
			session.end()
			if err := s.Shutdown(context.WithoutCancel(ctx), false); err != nil {
				c.log.Warn("the backend did not stop cleanly", "error", err)
			}
			_ = conn.Close() // in memory
			stopServer()
		})
	}
	return &inProcess{client: c, since: time.Now()}, stop, nil
}
