package ports

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// childKey makes this program hold ports until its stdin ends, and print them.
const childKey = "QUORATE_TEST_HOLD_PORTS"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(childKey)); err == nil {
		s, err := Reserve(n)
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintln(os.Stdout, strings.Trim(fmt.Sprint(s.Numbers), "[]")) // the parent notices
		_, _ = os.Stdin.Read(make([]byte, 1))                                     // until the parent goes
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestReserve(t *testing.T) {
	first, last := ephemeral()
	var seen []int
	for range 4 {
		s, err := Reserve(50)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		for _, port := range s.Numbers {
			if slices.Contains(seen, port) {
				t.Fatalf("port %d was given twice", port)
			}
			if from, _ := choice(); port >= first && port <= last && (from < first || from > last) {
				t.Errorf("port %d is one of those that the system gives to anybody, %d to %d", port, first, last)
			}
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatalf("a port that was reserved: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		seen = append(seen, s.Numbers...)
	}
}

// Somebody who listens and does not know this package keeps his port.
func TestTakeIsRefusedWhereSomebodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if held, err := take(l.Addr().(*net.TCPAddr).Port); held != nil || err != nil {
		t.Fatalf("a port that is listened on was taken: %v, %v", held, err)
	}
}

// What another process holds is not given, and is free again when that is killed.
func TestHeldAgainstOtherProcesses(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childKey+"=3")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.Fields(line)
	if len(theirs) != 3 {
		t.Fatalf("the other process holds %q", line)
	}
	for _, field := range theirs {
		port, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := take(port); held != nil || err != nil {
			t.Errorf("port %d, which another process holds, was taken: %v", port, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for _, field := range theirs {
		port, _ := strconv.Atoi(field)
		held, err := take(port)
		if held == nil || err != nil {
			t.Errorf("port %d is not free after its holder was killed: %v", port, err)
			continue
		}
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	}
}
