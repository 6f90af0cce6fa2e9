package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-plugin"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk"
)

// hostFD is the number that the first of ExtraFiles has in the child.
const hostFD = "3"

// passedOn are the variables that a plugin gets from this process, if they are
// set. Everything else stays here: it may be a secret.
var passedOn = []string{"PATH", "TMPDIR", "TZ", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "QUORATE_PLUGIN_FAULT_DIR"}

// command returns the plugin's command, not started yet. socketDir is where it
// makes its socket.
func (s Spec) command(socketDir string, log *slog.Logger) (*exec.Cmd, error) {
	cmd := &exec.Cmd{SysProcAttr: &syscall.SysProcAttr{Setpgid: true}} // a Ctrl-C is for the host
	if s.Name == External {
		if err := checkExecutable(s.Path); err != nil {
			return nil, err
		}
		cmd.Path, cmd.Args = s.Path, append([]string{s.Path}, s.Args...)
	} else {
		self, err := selfPath()
		if err != nil {
			return nil, fmt.Errorf("find this executable: %w", err)
		}
		cmd.Path, cmd.Args = self, []string{os.Args[0], "plugin", "serve", s.Name}
	}
	cmd.Env = s.environment(socketDir, log)
	return cmd, nil
}

// selfPath is this very program, even if its file has been replaced since.
func selfPath() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// environment makes the plugin's environment. Of two values the last one counts,
// so that Env cannot change what the SDK relies on.
func (s Spec) environment(socketDir string, log *slog.Logger) []string {
	env := []string{}
	for _, key := range passedOn {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	for key, v := range s.Env {
		env = append(env, key+"="+v)
	}
	level := slog.LevelInfo
	if log.Enabled(context.Background(), slog.LevelDebug) {
		level = slog.LevelDebug
	}
	return append(env,
		plugin.EnvUnixSocketDir+"="+socketDir,
		sdk.HostFDKey+"="+hostFD,
		sdk.LogLevelKey+"="+level.String(),
	)
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return finalError(consensus.ExitConfig, "the consensus plugin %s does not exist: install it there, or correct consensus/external/path", path)
	case err != nil:
		return finalError(consensus.ExitConfig, "the consensus plugin %s cannot be used: %w", path, err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return finalError(consensus.ExitConfig, "the consensus plugin %s is not an executable file: run chmod +x on it, or correct consensus/external/path", path)
	default:
		return nil
	}
}

// secureConfig returns a fresh check of the checksum: go-plugin's is good for
// one launch only. nil means that no checksum is asked for.
func (s Spec) secureConfig() *plugin.SecureConfig {
	if s.Name != External || s.SHA256 == "" {
		return nil
	}
	sum, _ := hex.DecodeString(s.SHA256) // Spec.complete has checked it
	return &plugin.SecureConfig{Checksum: sum, Hash: sha256.New()}
}

// wrongChecksum says what the checksum is and should be.
func (s Spec) wrongChecksum() error {
	return finalError(consensus.ExitConfig,
		"the consensus plugin %s has the SHA-256 %s, but consensus/external/sha256 says %s: install the right file, or correct the setting",
		s.Path, fileSum(s.Path), s.SHA256)
}

// sha256 returns the checksum of the plugin's executable; empty if it cannot be read.
func (s Spec) sha256() string {
	switch {
	case s.Name != External:
		return selfSum()
	case s.SHA256 != "":
		return strings.ToLower(s.SHA256) // it is not started with another one
	}
	if sum := fileSum(s.Path); sum != unreadable {
		return sum
	}
	return ""
}

// selfSum is the checksum of this very program.
var selfSum = sync.OnceValue(func() string {
	path, err := selfPath()
	if err != nil {
		return ""
	}
	if sum := fileSum(path); sum != unreadable {
		return sum
	}
	return ""
})

// unreadable stands where a checksum is to be shown.
const unreadable = "(unreadable)"

func fileSum(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return unreadable
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return unreadable
	}
	return hex.EncodeToString(h.Sum(nil))
}
