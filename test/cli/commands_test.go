//go:build integration

package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quorate/quorate/consensus/consensustest/ports"
	"github.com/quorate/quorate/test/lab"
)

// commands are what scripts know besides testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"certificates": certificates,
	"expand":       expand,
	"waitfor":      waitFor,
	"metrics":      metrics,
	"exits":        exits,
	"sentence":     sentence,
	"eventually":   eventually,
	"ports":        addressesOf,
	"occupy":       occupy,
	"ready":        ready,
	"alone":        alone,
	"sum":          sum,
	"paste":        paste,
}

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// certificates DIR NAME... makes an authority in a folder, and certificates that it
// signed.
func certificates(ts *testscript.TestScript, _ bool, args []string) {
	c, err := lab.NewCertificates(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, name := range args[1:] {
		ts.Check(c.Issue(name))
	}
}

// expand FILE replaces $VARIABLE in a file by its value.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		content := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(content), 0o600))
	}
}

// waitfor FILE PATTERN waits until a file that is being written matches.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[1])
	await(ts, "a match for "+args[1], func(context.Context) (bool, string) {
		content := ts.ReadFile(args[0])
		return want.MatchString(content), content
	})
}

// metrics ADDRESS PATTERN waits until a node's metrics have a line that matches.
func metrics(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[1])
	client := &http.Client{Timeout: 5 * time.Second}
	await(ts, "a metric "+args[1], func(ctx context.Context) (bool, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+args[0]+"/metrics", http.NoBody)
		ts.Check(err)
		resp, err := client.Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		return err == nil && want.Match(content), fmt.Sprintf("%d bytes, %v", len(content), err)
	})
}

// exits CODE PROGRAM ARG... runs a program that must end with this code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// insides are words that a person who runs a broker has no use for.
var insides = regexp.MustCompile(`dial tcp|listen tcp|bind:|syscall|goroutine|panic|context |rpc error|strconv|%!|level=`)

// sentence PATTERN checks that all of stderr is one line for people, and matches.
func sentence(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: sentence PATTERN")
	}
	said := ts.ReadFile("stderr")
	switch {
	case !strings.HasPrefix(said, "quorate: ") || strings.Count(said, "\n") != 1:
		ts.Fatalf("not one sentence:\n%s", said)
	case insides.MatchString(said):
		ts.Fatalf("not for people (%q):\n%s", insides.FindString(said), said)
	case !regexp.MustCompile("(?m)" + args[0]).MatchString(said):
		ts.Fatalf("no match for %q:\n%s", args[0], said)
	}
}

// eventually PATTERN PROGRAM ARG... runs a program until it succeeds and prints
// something that matches.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN PROGRAM ARG...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	await(ts, "a match for "+args[0], func(context.Context) (bool, string) {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		return err == nil && want.MatchString(out), out
	})
}

// addressesOf NAME... sets variables to addresses of loopback that nobody else listens
// on until the script ends.
func addressesOf(ts *testscript.TestScript, _ bool, args []string) {
	reserved, err := ports.Reserve(len(args))
	ts.Check(err)
	ts.Defer(func() { _ = reserved.Release() }) // with the script
	for i, name := range args {
		ts.Setenv(name, net.JoinHostPort("127.0.0.1", strconv.Itoa(reserved.Numbers[i])))
	}
}

// occupy ADDRESS listens there until the script ends.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	for _, addr := range args {
		l, err := net.Listen("tcp", addr)
		ts.Check(err)
		ts.Defer(func() { _ = l.Close() }) // with the script
	}
}

// ready ADDRESS waits until a node's admin address says that it serves.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	client := &http.Client{Timeout: time.Second}
	await(ts, "a ready node", func(ctx context.Context) (bool, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+args[0]+"/readyz", http.NoBody)
		ts.Check(err)
		resp, err := client.Do(req)
		if err != nil {
			return false, err.Error()
		}
		return resp.StatusCode == http.StatusOK, resp.Status + fmt.Sprint(resp.Body.Close())
	})
}

// alone waits until no consensus plugin runs that was started in the script's
// folder; with ! until one does.
func alone(ts *testscript.TestScript, neg bool, _ []string) {
	work := ts.Getenv("WORK")
	await(ts, fmt.Sprintf("no plugin to be %v", !neg), func(context.Context) (bool, string) {
		var left []string
		processes, err := filepath.Glob("/proc/[0-9]*")
		ts.Check(err)
		for _, p := range processes {
			cwd, err := os.Readlink(p + "/cwd")
			if err != nil || !strings.HasPrefix(cwd, work) {
				continue // another's, or gone
			}
			if cmdline, err := os.ReadFile(p + "/cmdline"); err == nil && bytes.Contains(cmdline, []byte("plugin\x00serve")) {
				left = append(left, filepath.Base(p))
			}
		}
		return (len(left) == 0) != neg, fmt.Sprint("processes ", left)
	})
}

// sum FILE NAME sets a variable to a file's SHA-256.
func sum(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[1], fmt.Sprintf("%x", sha256.Sum256([]byte(ts.ReadFile(args[0])))))
}

// paste FILE runs the two indented lines of a file in a shell, as a person would
// who was told to. What they print goes to the file pasted.
func paste(ts *testscript.TestScript, _ bool, args []string) {
	var lines []string
	await(ts, "two lines to paste", func(context.Context) (bool, string) {
		said := ts.ReadFile(args[0])
		lines = indented.FindAllString(said, -1)
		return len(lines) == 2, said
	})
	var out strings.Builder
	for _, line := range lines {
		ts.Check(ts.Exec("sh", "-c", strings.TrimSpace(line)))
		out.WriteString(ts.ReadFile("stdout"))
	}
	ts.Check(os.WriteFile(ts.MkAbs("pasted"), []byte(out.String()), 0o600))
}

var indented = regexp.MustCompile(`(?m)^  .+\n`)

func await(ts *testscript.TestScript, what string, ok func(context.Context) (bool, string)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(lab.Await(ctx, what, ok))
}
