package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/internal/wire"
	"github.com/quorate/quorate/consensus/sdk"
)

// process is one life of a plugin's process, from its start to reap.
type process struct {
	cmd     *exec.Cmd
	plugin  *plugin.Client
	conn    *grpc.ClientConn
	sockets string          // the directory of its socket
	exited  <-chan struct{} // closed when the process has been waited for
	death   *os.File        // the pipe's write end: the plugin ends when it is closed, also by the kernel
	stderr  *stderrLog
	dial    []grpc.DialOption
}

// startProcess starts the plugin and connects to it. After an error nothing of
// it is left. What the plugin logs goes to log. An error that needs an operator is an *attemptError.
func startProcess(spec Spec, log *slog.Logger, dial ...grpc.DialOption) (*process, error) {
	socketDir, err := prepareRunDir(spec.RunDir)
	if err != nil {
		return nil, err
	}
	cmd, err := spec.command(socketDir, log)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe to the plugin: %w", err)
	}
	cmd.ExtraFiles = []*os.File{read}
	p := &process{cmd: cmd, sockets: socketDir, death: write, stderr: &stderrLog{log: log}, dial: dial}
	p.plugin = plugin.NewClient(p.clientConfig(spec))
	err = p.connect(spec)
	_ = read.Close() // the child has its own; here it is of no use
	if err != nil {
		p.reap()
		return nil, p.startFailure(spec, err)
	}
	return p, nil
}

func (p *process) clientConfig(spec Spec) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: sdk.ProtocolVersion, MagicCookieKey: sdk.CookieKey, MagicCookieValue: sdk.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: dialedPlugin{}}},
		Cmd:              p.cmd,
		SecureConfig:     spec.secureConfig(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		GRPCDialOptions:  append([]grpc.DialOption{grpc.WithInitialWindowSize(wire.StreamWindow), grpc.WithInitialConnWindowSize(wire.ConnWindow)}, p.dial...),
		SkipHostEnv:      true,
		StartTimeout:     spec.Supervision.StartTimeout,
		Stderr:           p.stderr, // which is the adapter to slog; go-plugin's own log has nothing to add
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
	}
}

// connect does what go-plugin can: start, handshake, connection.
func (p *process) connect(spec Spec) error {
	if _, err := p.plugin.Start(); err != nil {
		return err
	}
	// From here on go-plugin waits without a limit of its own.
	watchdog := time.AfterFunc(spec.Supervision.StartTimeout, func() { _ = p.cmd.Process.Kill() })
	defer watchdog.Stop()
	rpc, err := p.plugin.Client()
	if err != nil {
		return err
	}
	raw, err := rpc.Dispense(sdk.PluginName)
	if err != nil {
		return err
	}
	d, ok := raw.(dialed)
	if !ok {
		return fmt.Errorf("go-plugin returned a %T", raw)
	}
	p.conn, p.exited = d.conn, d.exited
	return nil
}

// startFailure says in one sentence why the process did not come up.
func (p *process) startFailure(spec Spec, err error) error {
	if errors.Is(err, plugin.ErrChecksumsDoNotMatch) {
		return spec.wrongChecksum()
	}
	var major int
	if n, _ := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d", &major); n == 1 {
		return finalError(consensus.ExitConfig, "the consensus plugin %s speaks version %d of the contract, this broker version %d: install one that was built for this broker", p.cmd.Path, major, sdk.ProtocolVersion)
	}
	if p.cmd.ProcessState == nil {
		return fmt.Errorf("start the consensus plugin %s: %w", p.cmd.Path, err)
	}
	err = errors.New(firstWords(err.Error()))
	if tail := p.stderr.last(); len(tail) > 0 {
		err = fmt.Errorf("it said: %s", tail[len(tail)-1])
	}
	name := spec.Name
	if name == External {
		name = spec.Path
	}
	how := fmt.Sprintf("ended during its start (%s)", p.cmd.ProcessState)
	if p.exitCode() < 0 { // by go-plugin, if it was not what it should be
		how = "was stopped during its start"
	}
	return judge(fmt.Errorf("the consensus plugin %s %s: %w", name, how, err), p.exitCode())
}

// firstWords is go-plugin's complaint as one line, without its advice: what it
// guesses about the file is most often wrong.
func firstWords(complaint string) string {
	complaint, _, _ = strings.Cut(complaint, "\nThis usually means")
	complaint, _, _ = strings.Cut(complaint, "\n\nAdditional notes")
	return strings.Join(strings.Fields(complaint), " ")
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// exitCode returns the exit code once the process has been reaped; -1 if a
// signal ended it.
func (p *process) exitCode() int {
	if p.cmd.ProcessState == nil {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// hasExited waits up to wait for the process to end.
func (p *process) hasExited(wait time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(wait):
		return false
	}
}

// kill ends the process by its pid. It never asks the plugin, which may hang.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only if it is gone
	<-p.exited
}

// killHung makes the process dump its goroutines to stderr first, if it can.
func (p *process) killHung(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	if !p.hasExited(grace) {
		p.kill()
	}
}

// reap frees what belongs to a process that has ended, or that never came up.
func (p *process) reap() {
	p.plugin.Kill() // the process is gone: this only closes the connection
	_ = p.death.Close()
	_ = removeSockets(p.sockets) // what is left is removed at the next start
}

// dialedPlugin is the host's half of a go-plugin plugin.
type dialedPlugin struct{ plugin.NetRPCUnsupportedPlugin }

// dialed is what a go-plugin client knows of a process that runs.
type dialed struct {
	conn   *grpc.ClientConn
	exited <-chan struct{}
}

// GRPCClient implements plugin.GRPCPlugin. ctx ends when the process has.
func (dialedPlugin) GRPCClient(ctx context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return dialed{conn: conn, exited: ctx.Done()}, nil
}

// GRPCServer implements plugin.GRPCPlugin; a host is never a plugin's server.
func (dialedPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("not a plugin")
}
