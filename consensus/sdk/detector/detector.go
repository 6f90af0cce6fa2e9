// Package detector finds out that a replica's process is gone, sooner than by its
// silence. An election timeout has to be long enough for a process that is slow; one
// that was killed needs no such patience: its kernel closes what it had open and
// refuses what is dialled, within milliseconds.
//
// What it says is a good reason to ask the others for their votes, and no proof: a
// firewall may refuse as well. So it may only begin what is harmless if it is wrong,
// a pre-vote.
package detector

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	attempts    = 10
	between     = 10 * time.Millisecond // a process that dies closes one descriptor after the other
	dialTimeout = 100 * time.Millisecond
)

// Gone tells whether nobody listens at any of addresses any more. It is asked when
// the last connection from the replica there has ended. It returns false after about
// a tenth of a second if somebody takes connections, and at once if what happens says
// nothing of the process: a time-out, a network that is not there. Without an
// address it is false.
func Gone(ctx context.Context, addresses ...string) bool {
	for _, address := range addresses {
		if !refused(ctx, address) {
			return false
		}
	}
	return len(addresses) > 0
}

func refused(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: dialTimeout}
	for n := 0; ; n++ {
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return errors.Is(err, syscall.ECONNREFUSED)
		}
		_ = conn.Close() // nothing was said on it
		if n == attempts {
			return false
		}
		select {
		case <-time.After(between):
		case <-ctx.Done():
			return false
		}
	}
}

// Turn is how long a voter waits before it stands for election once the leader is
// gone: the voters go one after the other, by their ids, or they would split the
// votes. Each needs the others to have noticed, so the first one waits, too. step is
// about the time of an election; voters may hold the one who is gone.
func Turn(self, gone uint64, voters []uint64, step time.Duration) time.Duration {
	rank := 0
	for _, id := range voters {
		if id < self && id != gone {
			rank++
		}
	}
	return step/2 + time.Duration(rank)*step
}
