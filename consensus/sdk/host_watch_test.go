package sdk

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestHostPipe: the end of the pipe must be seen by itself, since it is much
// earlier than a new parent.
func TestHostPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(r.Fd())) // watchHost keeps what it is given
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	gone := watchHost(NewServer(noBackend{}), strconv.Itoa(fd))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if why := <-gone; !strings.Contains(why, "pipe") {
		t.Errorf("got %q", why)
	}
}
