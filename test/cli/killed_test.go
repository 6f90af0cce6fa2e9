//go:build integration

package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// `plugin verify` that is killed leaves no process, no file and no file system in
// memory behind, whatever it was doing.
func TestVerifyKilled(t *testing.T) {
	killed := 0
	for _, only := range []string{"16 the file system", "08 broken", "23 the host"} {
		t.Run(only, func(t *testing.T) {
			temporary, err := os.MkdirTemp("", "k") //nolint:usetesting // a short path: sockets are below it
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(temporary) }) // empty, or told
			cmd := exec.Command(filepath.Join(bin, "quorate"), "plugin", "verify", "etcd-raft", "--level", "2", "--quick", "--only", only)
			cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				_ = cmd.Wait() // it is killed, or was too fast
				close(ended)
			}()
			awaitThat(t, "it runs a replica", func() (bool, string) {
				select {
				case <-ended:
					return true, ""
				default:
				}
				found := replicasBelow(temporary)
				return len(found) > 0, strings.Join(found, "; ")
			})
			if cmd.Process.Kill() == nil { // it may have been too fast
				killed++
			}
			<-ended
			awaitThat(t, "nothing of it is left", func() (bool, string) {
				left := append(replicasBelow(temporary), mountsBelow(temporary)...)
				files, err := os.ReadDir(temporary)
				return err == nil && len(left) == 0 && len(files) == 0, fmt.Sprintf("%v %v %v", left, files, err)
			})
		})
	}
	if killed == 0 {
		t.Error("nothing was killed while it ran")
	}
}

func awaitThat(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lab.Await(ctx, what, func(context.Context) (bool, string) { return ok() }); err != nil {
		t.Fatal(err)
	}
}

// replicasBelow are the processes that a command with its temporary folder in dir has started.
func replicasBelow(dir string) (found []string) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	for _, path := range paths {
		environment, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environment, []byte("QUORATE_SCRATCH="+dir)) {
			continue
		}
		found = append(found, filepath.Base(filepath.Dir(path)))
	}
	return found
}

func mountsBelow(dir string) (found []string) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, " "+dir+"/") {
			found = append(found, line)
		}
	}
	return found
}
