package ports

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// hold takes a name that goes with the port: an abstract socket, which is as wide
// as the ports themselves, one network namespace, and ends with its process. nil:
// somebody has it.
func hold(port int) (io.Closer, error) {
	l, err := net.Listen("unix", fmt.Sprintf("@quorate-test-port-%d", port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hold port %d: %w", port, err)
	}
	return l, nil
}

// ephemeral is the first and the last port that the system gives by itself.
func ephemeral() (first, last int) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return defaultFirst, defaultLast
	}
	if _, err := fmt.Sscan(string(data), &first, &last); err != nil {
		return defaultFirst, defaultLast
	}
	return first, last
}
