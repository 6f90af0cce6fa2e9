package doctor

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Plugin is what is to be examined.
type Plugin struct {
	Path    string // of the executable
	SHA256  string // what it should be, in hexadecimal; empty: whatever it is
	Args    []string
	Env     map[string]string
	Timeout time.Duration // for the handshake line; 10 s if zero
}

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Says  string `json:"says"`          // what was seen, in one sentence
	Fix   string `json:"fix,omitempty"` // what to do about it, if it is not OK
}

func good(check, format string, args ...any) Finding {
	return Finding{Check: check, OK: true, Says: fmt.Sprintf(format, args...)}
}

func bad(check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Says: fmt.Sprintf(format, args...), Fix: fix}
}

// Healthy reports whether every check found what it wanted.
func Healthy(findings []Finding) bool {
	for _, f := range findings {
		if !f.OK {
			return false
		}
	}
	return true
}

// Examine runs every check, in the order in which a broker meets what they check,
// up to the first failure that makes the rest meaningless. Whatever it starts has
// ended when it returns. ask describes the plugin, the way that a broker does; it
// may be nil. The error is about the doctor, not the plugin.
func Examine(ctx context.Context, p Plugin, ask func(context.Context) (string, error)) ([]Finding, error) {
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	dir, err := os.MkdirTemp("", "quorate-doctor-") // mode 0700, and short enough for a socket
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	e := &examination{plugin: p, dir: dir, describe: ask}
	for _, check := range []func(context.Context) (Finding, error){
		e.executable, e.checksum, e.cookie, e.handshake, e.tls, e.stdout, e.describes, e.signals, e.hostDeath,
	} {
		f, err := check(ctx)
		if err != nil {
			return e.findings, errors.Join(err, e.end())
		}
		if f.Check != "" {
			e.findings = append(e.findings, f)
		}
		if !f.OK && !f.goesOn() {
			break
		}
	}
	return e.findings, e.end()
}

// goesOn reports whether the checks after a failure still tell something.
func (f Finding) goesOn() bool {
	return f.Check == "" || f.Check == checkChecksum || f.Check == checkCookie || f.Check == checkStdout || f.Check == checkSignals
}

const (
	checkExecutable = "executable"
	checkChecksum   = "checksum"
	checkCookie     = "cookie"
	checkHandshake  = "handshake"
	checkSocket     = "socket"
	checkTLS        = "mutual TLS"
	checkStdout     = "stdout"
	checkDescribe   = "describe"
	checkSignals    = "signals"
	checkHostDeath  = "host's death"
)

// examination is one run of the checks.
type examination struct {
	plugin   Plugin
	dir      string // of sockets
	describe func(context.Context) (string, error)
	findings []Finding

	identity identity // the host's, of P-521
	running  *process // from the handshake on
	line     line     // what it printed
	refused  string   // how it ended without the cookie
}

func (e *examination) end() error {
	if e.running == nil {
		return nil
	}
	return e.running.kill()
}

func (e *examination) executable(context.Context) (Finding, error) {
	info, err := os.Stat(e.plugin.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return bad(checkExecutable, "install it there, or correct consensus/external/path", "%s does not exist", e.plugin.Path), nil
	case err != nil:
		return bad(checkExecutable, "let this user read it", "%s cannot be looked at: %v", e.plugin.Path, err), nil
	case !info.Mode().IsRegular():
		return bad(checkExecutable, "name the executable itself", "%s is no file", e.plugin.Path), nil
	case info.Mode().Perm()&0o111 == 0:
		return bad(checkExecutable, "chmod +x "+e.plugin.Path, "%s is not executable (mode %v)", e.plugin.Path, info.Mode().Perm()), nil
	case info.Mode().Perm()&0o022 != 0:
		return bad(checkExecutable, "chmod go-w "+e.plugin.Path, "%s can be changed by others (mode %v): the checksum is of no use then", e.plugin.Path, info.Mode().Perm()), nil
	}
	return good(checkExecutable, "%s, %d bytes", e.plugin.Path, info.Size()), nil
}

func (e *examination) checksum(context.Context) (Finding, error) {
	f, err := os.Open(e.plugin.Path)
	if err != nil {
		return bad(checkChecksum, "let this user read it", "%v", err), nil
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Finding{}, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if want := e.plugin.SHA256; want != "" && !strings.EqualFold(want, sum) {
		return bad(checkChecksum, "install the right file, or set consensus/external/sha256 to "+sum, "it is %s, and should be %s", sum, want), nil
	}
	return good(checkChecksum, "%s", sum), nil
}

// cookie starts the plugin as somebody would by hand. It must refuse.
func (e *examination) cookie(context.Context) (Finding, error) {
	p, err := startProcess(e.plugin, e.dir, nil)
	if err != nil {
		return bad(checkCookie, "run it by hand and see what the system says", "it cannot be started: %v", err), nil
	}
	const fix = "without " + cookieKey + " in the environment, say on stderr that a broker starts it, and exit with 78"
	text, inTime := p.firstLine(e.plugin.Timeout)
	ended := p.hasEnded(time.Second)
	if err := p.kill(); err != nil {
		return Finding{}, err
	}
	switch {
	case text != "":
		return bad(checkCookie, fix, "started by hand it does not refuse, but prints %q", shorten(text)), nil
	case !inTime || !ended:
		return bad(checkCookie, fix, "started by hand it does not refuse, but runs"), nil
	}
	e.refused = p.ending()
	return good(checkCookie, "started by hand it refuses (%s)", p.state()), nil
}

// handshake starts the plugin as a broker does, and reads its line.
func (e *examination) handshake(context.Context) (Finding, error) {
	var err error
	if e.identity, err = newIdentity(elliptic.P521()); err != nil {
		return Finding{}, err
	}
	if e.running, err = startProcess(e.plugin, e.dir, &e.identity); err != nil {
		return bad(checkHandshake, "run it by hand and see what the system says", "it cannot be started: %v", err), nil
	}
	text, inTime := e.running.firstLine(e.plugin.Timeout)
	if text == "" {
		return e.noLine(inTime), nil
	}
	var f Finding
	e.line, f = parseLine(text)
	if f.OK && len(e.line.address) > maxSocketPath {
		f = bad(checkHandshake, "make the socket in $PLUGIN_UNIX_SOCKET_DIR, with a short name", "the socket's path is longer than %d bytes", maxSocketPath)
	}
	return f, nil
}

// noLine says why there is no line.
func (e *examination) noLine(inTime bool) Finding {
	if !inTime {
		return bad(checkHandshake, "print the line as soon as the socket listens; what takes long, like recovery, belongs into Start",
			"it prints nothing on stdout within %v; the broker gives up after consensus/supervision/start_timeout", e.plugin.Timeout)
	}
	e.running.hasEnded(time.Second)
	switch state := e.running.state(); {
	case e.running.ending() == e.refused:
		return bad(checkHandshake, "compare "+cookieKey+" with "+cookieValue+", exactly",
			"it ends as if it were started by hand (%s): it does not know the cookie", state)
	default:
		return bad(checkHandshake, "its own words tell more; try \"quorate plugin doctor\" with the --args that it needs",
			"it ends at once, with %s%s", state, e.running.lastWords())
	}
}

// stdout wants silence after the line (rule L7): a broker reads what follows as
// lines of something else, or drops it.
func (e *examination) stdout(context.Context) (Finding, error) {
	if said := e.running.chatter.String(); said != "" {
		return bad(checkStdout, "what is for people belongs on stderr, as lines of JSON",
			"after the handshake line there is more on stdout: %q", shorten(said)), nil
	}
	return good(checkStdout, "nothing but the handshake line"), nil
}

func (e *examination) describes(ctx context.Context) (Finding, error) {
	if e.describe == nil {
		return Finding{}, nil
	}
	said, err := e.describe(ctx)
	if err != nil {
		return bad(checkDescribe, "serve the services consensus.v1.Consensus and grpc.health.v1.Health (\"plugin\") on the socket", "%v", err), nil
	}
	return good(checkDescribe, "%s", said), nil
}

func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
