package scratch

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// holdKey makes this program a command that has a folder, with a process that is
// frozen and a file, and waits to be killed.
const holdKey = "QUORATE_TEST_HOLD_SCRATCH"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == Command:
		if err := Sweep(os.Args[2], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(holdKey) != "":
		hold()
	}
	os.Exit(m.Run())
}

func hold() {
	f, err := New("quorate-test-")
	if err == nil {
		err = os.WriteFile(filepath.Join(f.Dir, "file"), []byte("data"), 0o600)
	}
	if err != nil {
		panic(err)
	}
	cmd := sleeper(f)
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, f.Dir, cmd.Process.Pid) // the parent notices
	select {}
}

// sleeper is a process of the folder.
func sleeper(f *Folder) *exec.Cmd {
	cmd := exec.Command("sleep", "600")
	cmd.Env = append(os.Environ(), f.Env())
	return cmd
}

// started runs the holder and tells its folder and its process.
func started(t *testing.T) (holder *exec.Cmd, dir string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdKey+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 2 {
		t.Fatalf("the holder says %q: %v", line, err)
	}
	if pid, err = strconv.Atoi(fields[1]); err != nil {
		t.Fatal(err)
	}
	return cmd, fields[0], pid
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are found by /proc")
	}
	holder, dir, pid := started(t)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	eventually(t, "the folder of a command that was killed is gone", func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
	eventually(t, "its frozen process is gone", func() bool { return !runs(pid) })
}

// runs tells whether a process is there that is no zombie.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestRemove(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are found by /proc")
	}
	t.Setenv("TMPDIR", t.TempDir())
	f, err := New("quorate-test-")
	if err != nil {
		t.Fatal(err)
	}
	other, err := New("quorate-test-")
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := sleeper(f), sleeper(other)
	for _, cmd := range []*exec.Cmd{mine, theirs} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan struct{})
	go func() {
		_ = mine.Wait() // it is killed
		close(ended)
	}()
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	<-ended
	if !runs(theirs.Process.Pid) {
		t.Error("a process of another folder was ended, too")
	}
	go func() { _ = theirs.Wait() }() // it is killed, too
	if err := other.Remove(); err != nil {
		t.Error(err)
	}
}

func TestUnmounts(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root mounts")
	}
	t.Setenv("TMPDIR", t.TempDir())
	f, err := New("quorate-test-")
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(f.Dir, "a", "b")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", inner).CombinedOutput(); err != nil {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		t.Skipf("nothing can be mounted here: %s", out)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), f.Dir) {
		t.Errorf("it is still mounted: %v", err)
	}
}
