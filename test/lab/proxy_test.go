package lab

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo answers every line with itself.
func echo(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if _, err := fmt.Fprintln(conn, lines.Text()); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// caller is a connection through a proxy.
type caller struct {
	net.Conn
	lines *bufio.Reader
}

func call(t *testing.T, p *proxy) caller {
	t.Helper()
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return caller{conn, bufio.NewReader(conn)}
}

// ask sends a line and reads what comes back within patience.
func (c caller) ask(t *testing.T, line string, patience time.Duration) (string, error) {
	t.Helper()
	if line != "" {
		if _, err := fmt.Fprintln(c, line); err != nil {
			return "", err
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.lines.ReadString('\n')
}

func TestProxy(t *testing.T) {
	const soon, long = 50 * time.Millisecond, 10 * time.Second
	p, err := newProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	set := func(d direction, how Traffic) {
		t.Helper()
		if err := p.set(d, how); err != nil {
			t.Fatal(err)
		}
	}
	old := call(t, p)
	if got, err := old.ask(t, "hello", long); got != "hello\n" {
		t.Fatalf("flowing: got %q, %v", got, err)
	}
	for _, d := range []direction{requests, answers} {
		set(d, Frozen)
		late := call(t, p)
		for name, c := range map[string]caller{"old": old, "late": late} {
			if got, err := c.ask(t, "frozen", soon); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("frozen in direction %d, %s connection: got %q, %v", d, name, got, err)
			}
		}
		set(d, Flowing)
		for name, c := range map[string]caller{"old": old, "late": late} {
			if got, err := c.ask(t, "", long); got != "frozen\n" {
				t.Errorf("mended in direction %d, %s connection: got %q, %v", d, name, got, err)
			}
		}
	}
	set(requests, Refused)
	if _, err := old.ask(t, "refused", long); err == nil {
		t.Error("refused: the connection lives")
	}
	if _, err := net.Dial("tcp", p.address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: dialling gave %v", err)
	}
	set(requests, Flowing)
	fresh := call(t, p)
	if got, err := fresh.ask(t, "again", long); got != "again\n" {
		t.Errorf("mended: got %q, %v", got, err)
	}
	p.hangUp()
	if _, err := fresh.ask(t, "", long); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("hung up: got %v", err)
	}
}
