package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ports are ports that nobody listens on, reserved against every other lab on
// this machine: nodes bind them later, and again after each restart.
type ports struct {
	numbers []int
	locks   []*os.File
}

// reservePorts finds free ports. They are all held while they are chosen, so that
// they differ.
func reservePorts(count int) (*ports, error) {
	dir := filepath.Join(os.TempDir(), "quorate-lab-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	p := &ports{}
	for len(p.numbers) < count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", errors.Join(err, p.release()))
		}
		defer l.Close()
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("find a free port: got %v", l.Addr())
		}
		if err := p.lock(dir, addr.Port); err != nil {
			return nil, errors.Join(err, p.release())
		}
	}
	return p, nil
}

// lock reserves a port unless another lab has. The lock ends with the process,
// however it ends; the empty file stays.
func (p *ports) lock(dir string, port int) error {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return fmt.Errorf("reserve a port: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return f.Close()
	}
	if err != nil {
		return fmt.Errorf("reserve port %d: %w", port, errors.Join(err, f.Close()))
	}
	p.numbers, p.locks = append(p.numbers, port), append(p.locks, f)
	return nil
}

func (p *ports) release() error {
	var errs []error
	for _, f := range p.locks {
		errs = append(errs, f.Close())
	}
	p.locks = nil
	return errors.Join(errs...)
}
