package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

// stopGrace is how long an orderly stop may take.
const stopGrace = 10 * time.Second

// Binary is the front for real plugins: every replica is a process behind the
// real handshake, in any language.
type Binary struct {
	// Plugin names what to run; of its fields Name, Path, SHA256, Args and Env count.
	Plugin host.Spec
	// Executable is what "plugin serve NAME" is run of for a built-in backend;
	// this very program if empty.
	Executable string
	// ScratchDir is where sockets and the like may be put.
	ScratchDir string
	// Log gets what the plugins say.
	Log *slog.Logger
}

// Name implements Front.
func (b Binary) Name() string { return "binary" }

func (b Binary) spec() host.Spec {
	s := b.Plugin
	s.RunDir = b.ScratchDir
	if b.Executable != "" && s.Name != host.External {
		s = host.Spec{Name: host.External, Path: b.Executable, Args: []string{"plugin", "serve", s.Name}, Env: s.Env, RunDir: s.RunDir}
	}
	return s
}

// Describe implements Front.
func (b Binary) Describe(ctx context.Context) (consensus.Description, error) {
	d, _, err := host.Describe(ctx, b.spec(), b.Log)
	return d, err
}

// Validate implements Front.
func (b Binary) Validate(ctx context.Context, options json.RawMessage) ([]consensus.Diagnostic, error) {
	s := b.spec()
	s.Start.Options = options
	_, problems, err := host.Describe(ctx, s, b.Log)
	return problems, err
}

// Launch implements Front.
func (b Binary) Launch(ctx context.Context, l Launch) (Replica, error) {
	s := b.spec()
	s.Start, s.Groups, s.RunDir = l.Start, l.Groups, l.RunDir
	if len(l.Env) > 0 {
		env := maps.Clone(l.Env)
		maps.Copy(env, s.Env)
		s.Env = env
	}
	bare, err := host.LaunchBare(ctx, s, b.Log, l.dial()...)
	if err != nil {
		return nil, err
	}
	return process{bare}, nil
}

func (b Binary) passesEnvironment() bool { return true }

// command implements commander.
func (b Binary) command(ctx context.Context, env ...string) (*exec.Cmd, error) {
	s := b.spec()
	path, args := s.Path, s.Args
	if s.Name != host.External {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		path, args = self, []string{"plugin", "serve", s.Name}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	for k, v := range s.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd, nil
}

// process is a host.Bare as a Process.
type process struct{ *host.Bare }

// Stop implements Replica.
func (p process) Stop() error { return p.Bare.Stop(stopGrace) }

// exitCodeOf returns the exit code that a failed launch carries, or -1.
func exitCodeOf(err error) int {
	if exit, ok := errors.AsType[*host.ExitError](err); ok {
		return exit.Code
	}
	return -1
}
