// Package ports gives tests TCP ports of 127.0.0.1 that stay theirs while nobody
// listens on them: what a replica listens on is there again after its restart.
//
// A port of the system's own choice (":0") is not: as soon as it is closed, the
// system may give it to anybody who dials or listens. So ports are taken from
// outside that range, and every one is held against all who use this package, in
// this process and in others. What is held is released when the process ends,
// however it ends.
package ports

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
)

// Set is some ports, all different. It is good until Release.
type Set struct {
	Numbers []int
	holds   []io.Closer
}

// Reserve holds count ports that nobody listens on.
func Reserve(count int) (*Set, error) {
	s := &Set{}
	from, to := choice()
	size := to - from
	start := rand.IntN(size) // so that runs beside each other do not try the same ones first
	for i := 0; i < size && len(s.Numbers) < count; i++ {
		port := from + (start+i)%size
		held, err := take(port)
		if err != nil {
			return nil, errors.Join(err, s.Release())
		}
		if held != nil {
			s.Numbers, s.holds = append(s.Numbers, port), append(s.holds, held)
		}
	}
	if len(s.Numbers) < count {
		return nil, errors.Join(fmt.Errorf("%d ports of 127.0.0.1 are needed, of %d to %d only %d are free", count, from, to-1, len(s.Numbers)), s.Release())
	}
	return s, nil
}

// take holds a port; nil if somebody else has it, or listens on it.
func take(port int) (io.Closer, error) {
	held, err := hold(port)
	if held == nil || err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, held.Close() // whatever the reason is, nobody else can listen there either
	}
	if err := l.Close(); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// Release gives the ports back.
func (s *Set) Release() error {
	var errs []error
	for _, h := range s.holds {
		errs = append(errs, h.Close())
	}
	s.holds = nil
	return errors.Join(errs...)
}

// What the system gives to those who do not ask for a port, where it does not say.
const defaultFirst, defaultLast = 32768, 65535

// lowest is where our own choice begins: below it are services with a name.
const lowest = 10000

// enough is how many ports a choice must have.
const enough = 1000

// choice is the ports to choose from, without the last: those that the system does
// not give to anybody by itself, if there are enough of them.
func choice() (from, to int) {
	first, last := ephemeral()
	switch {
	case first-lowest >= enough:
		return lowest, first
	case 65535-last >= enough:
		return last + 1, 65536
	default:
		return lowest, 65536 // held against each other, at least
	}
}
