package interbroker

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// ProbeResult is what a Probe found out.
type ProbeResult int

// The results of a probe.
const (
	Unclear ProbeResult = iota // no answer in time, or no address: the broker may be alive
	Alive                      // something accepted the connection
	Refused                    // the host is there and nobody listens: the process is gone
)

// String returns the result in lower case.
func (r ProbeResult) String() string {
	switch r {
	case Alive:
		return "alive"
	case Refused:
		return "refused"
	default:
		return "unclear"
	}
}

// Probe dials a broker and hangs up. It waits until ctx ends, DialTimeout at most for
// each address of the broker. Refused is one that every address of it refuses.
func (p *Pool) Probe(ctx context.Context, broker int32) ProbeResult {
	result := Unclear
	for n, address := range p.resolve(broker) {
		switch found := p.probe(ctx, broker, address); {
		case found == Alive:
			return Alive
		case n == 0 || found != Refused:
			result = found
		}
	}
	return result
}

func (p *Pool) probe(ctx context.Context, broker int32, address string) ProbeResult {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	var d net.Dialer
	socket, err := d.DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return Refused
	}
	if err != nil {
		return Unclear
	}
	if err := socket.Close(); err != nil {
		p.log.Debug("probe did not hang up cleanly", "broker", broker, "error", err)
	}
	return Alive
}
