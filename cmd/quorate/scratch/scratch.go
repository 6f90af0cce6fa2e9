// Package scratch gives a command a temporary folder that does not outlive it, however
// it ends, kill -9 included: with the folder go the processes that were started with
// Env, frozen ones too, and what is mounted below it.
//
// A process that is killed cannot clean up. So New starts another one of the same
// program, the sweeper, in a session of its own. Its standard input is a pipe whose
// other end only the command has; when the kernel closes that, the sweeper does what
// Remove would have done, and ends. The program must call Sweep if it is started with
// Command as its first argument.
package scratch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Command is the argument with which the program is to call Sweep.
const Command = "sweep-scratch"

// key is the variable that marks the processes that belong to a folder.
const key = "QUORATE_SCRATCH"

// patience is how long processes that were killed may take to be gone.
const patience = 30 * time.Second

// Folder is a temporary folder with its sweeper.
type Folder struct {
	Dir     string
	alive   *os.File // the pipe's end that says that this process lives
	sweeper *exec.Cmd
}

// New makes a folder in the system's temporary folder, and starts its sweeper.
func New(prefix string) (*Folder, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir}
	if err := f.startSweeper(); err != nil {
		return nil, errors.Join(fmt.Errorf("start what cleans up: %w", err), os.RemoveAll(dir))
	}
	return f, nil
}

func (f *Folder) startSweeper() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }() // the sweeper has its own
	cmd := exec.Command(self, Command, f.Dir)
	cmd.Stdin, cmd.Dir = read, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not for it
	if err := cmd.Start(); err != nil {
		return errors.Join(err, write.Close())
	}
	f.alive, f.sweeper = write, cmd
	return nil
}

// Mark is the name and the value of the variable that processes which are to end with
// the folder must have in their environment.
func (f *Folder) Mark() (name, value string) { return key, f.Dir }

// Env is Mark as an environment has it.
func (f *Folder) Env() string { return key + "=" + f.Dir }

// Remove removes the folder and what belongs to it, and waits for that.
func (f *Folder) Remove() error {
	if err := f.alive.Close(); err != nil {
		return err
	}
	if err := f.sweeper.Wait(); err != nil {
		return errors.Join(fmt.Errorf("clean up %s: %w", f.Dir, err), clear(f.Dir))
	}
	return nil
}

// Sweep waits until alive ends, and cleans up after the process that had its other end.
func Sweep(dir string, alive io.Reader) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s is no absolute path", dir)
	}
	if _, err := io.Copy(io.Discard, alive); err != nil {
		return err
	}
	return clear(dir)
}

// clear ends the folder's processes, unmounts what is below it and removes it.
func clear(dir string) error {
	deadline := time.Now().Add(patience)
	for {
		left := processesOf(dir)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", left)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		<-time.After(5 * time.Millisecond)
	}
	return errors.Join(unmountBelow(dir), os.RemoveAll(dir))
}

// processesOf lists the processes that were started with the folder's Env. Where there
// is no /proc it finds none: then only those are left that do not notice by
// themselves that nobody is there any more.
func processesOf(dir string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	mark := "\x00" + key + "=" + dir + "\x00"
	for _, e := range entries {
		var pid int
		if n, err := fmt.Sscanf(e.Name(), "%d", &pid); n != 1 || err != nil || pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && strings.Contains("\x00"+string(environment)+"\x00", mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}
