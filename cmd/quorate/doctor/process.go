package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus/sdk"
)

// process is a plugin that the doctor has started.
type process struct {
	cmd    *exec.Cmd
	pipe   *os.File    // its write end is the life of the host
	lines  chan string // the first line on stdout; closed when there is none
	ended  chan struct{}
	stderr tail

	chatter tail // on stdout, after the first line
}

// startProcess starts the plugin as a broker does: nothing of this process'
// environment but what is needed, and the cookie and the certificate if there is
// a host to speak for.
func startProcess(p Plugin, dir string, host *identity) (*process, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "PLUGIN_UNIX_SOCKET_DIR=" + dir, sdk.HostFDKey + "=3"}
	for k, v := range p.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if host != nil {
		cmd.Env = append(cmd.Env, cookieKey+"="+cookieValue, fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", sdk.ProtocolVersion),
			"PLUGIN_CLIENT_CERT="+string(host.pem))
	}
	cmd.ExtraFiles = []*os.File{read}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &process{cmd: cmd, pipe: write, lines: make(chan string, 1), ended: make(chan struct{})}
	cmd.Stderr = &out.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	go out.read(stdout)
	return out, nil
}

// maxLine is more than a handshake line needs.
const maxLine = 64 << 10

// read takes the first line, and whatever follows away, until the end.
func (p *process) read(stdout io.Reader) {
	r := bufio.NewReaderSize(stdout, maxLine)
	text, _ := r.ReadSlice('\n') // at the end of file without a line there is none
	if s := strings.TrimSpace(string(text)); s != "" {
		p.lines <- s
	}
	close(p.lines)
	_, _ = io.Copy(&p.chatter, r)
	_ = p.cmd.Wait() // what it exits with is in ProcessState
	close(p.ended)
}

// firstLine returns the first line on stdout, or none; inTime is false if nothing
// happened within wait.
func (p *process) firstLine(wait time.Duration) (text string, inTime bool) {
	select {
	case text = <-p.lines:
		return text, true
	case <-time.After(wait):
		return "", false
	}
}

func (p *process) hasEnded(wait time.Duration) bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	select {
	case <-p.ended:
		return true
	case <-time.After(wait):
		return false
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may have ended

func (p *process) closePipe() { _ = p.pipe.Close() }

// kill ends the process and what it has started, and waits for it.
func (p *process) kill() error {
	p.closePipe()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the plugin: %w", err)
	}
	<-p.ended
	return nil
}

// state says how the process ended, in words.
func (p *process) state() string {
	if !p.hasEnded(0) {
		return "nothing: it runs"
	}
	return p.cmd.ProcessState.String()
}

// ending is what tells one end from another.
func (p *process) ending() string { return p.state() + "\n" + p.stderr.String() }

// lastWords is the last line on stderr, to be put behind a sentence.
func (p *process) lastWords() string {
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return fmt.Sprintf("; it said: %s", last)
	}
	return ", and says nothing"
}

// maxTail is how much of stderr is kept.
const maxTail = 16 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - maxTail; over > 0 {
		t.kept = t.kept[over:]
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
