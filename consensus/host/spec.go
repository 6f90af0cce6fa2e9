package host

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
)

// External is the name of backends that are not built in.
const External = "external"

// Spec says which backend to run, and how.
type Spec struct {
	// Name is a built-in backend, run as "plugin serve NAME" of this very
	// executable, or External.
	Name string
	// Path is the executable of an external backend.
	Path string
	// SHA256 is what Path's content must be, in hexadecimal. Empty: not checked.
	SHA256 string
	// Args are an external backend's arguments.
	Args []string
	// Env is added to the environment, which is otherwise made from nothing.
	Env map[string]string
	// RunDir holds the socket. It is made if it is missing, mode 0700, and is
	// this host's alone. If its path is too long for a socket, a directory below
	// the system's temporary one is used instead.
	RunDir string
	// Start is what the backend is started with. A HostLease of zero means
	// DefaultHostLease.
	Start consensus.StartConfig
	// Groups are opened at every start; after the first one with OpenRecover.
	Groups []consensus.GroupSpec
	// Supervision is how the process is watched. The zero value means
	// DefaultSupervision.
	Supervision Supervision
}

// DefaultHostLease is how long a plugin goes on without hearing from its host.
// The pipe tells it earlier unless the host is frozen.
const DefaultHostLease = 10 * time.Second

// Supervision is how a plugin's process is watched and restarted.
type Supervision struct {
	StartTimeout   time.Duration // for the handshake; default 10 s
	HealthInterval time.Duration // between two questions; default 500 ms
	HealthTimeout  time.Duration // for one answer; default 1 s
	HealthMisses   int           // so many missing in a row: hung; default 3
	HangAfter      time.Duration // a loop that stands so long, without a sync, is hung; default 3 s
	SlowSync       time.Duration // a sync this old makes the state "slow"; default 1 s
	StuckSync      time.Duration // a sync this old counts as hung; default 30 s
	DumpGrace      time.Duration // between SIGQUIT and SIGKILL of a hung process; default 1 s
	StopGrace      time.Duration // for an orderly stop, and again for the exit after it; default 5 s
	BackoffMin     time.Duration // before the first restart, doubled each time; default 100 ms
	BackoffMax     time.Duration // default 30 s
	BackoffReset   time.Duration // healthy for so long: the back-off starts again; default 60 s
	LockWait       time.Duration // how long a locked data directory is waited for; default 30 s
	CrashLimit     int           // more per minute: the back-off stays at its maximum; default 5
	SlowCommit     time.Duration // a leader whose 99th percentile is above hands over; default 100 ms, at least the election timeout
	SlowCommitFor  time.Duration // for so long; default 30 s
	HandOverRest   time.Duration // between two such hand-overs; default 10 min
	LaunchAttempts int           // of Launch, for failures that may pass; default 3
}

// DefaultSupervision is how plugins are supervised in production.
func DefaultSupervision() Supervision {
	return Supervision{
		StartTimeout:   10 * time.Second,
		HealthInterval: 500 * time.Millisecond,
		HealthTimeout:  time.Second,
		HealthMisses:   3,
		HangAfter:      3 * time.Second,
		SlowSync:       time.Second,
		StuckSync:      30 * time.Second,
		DumpGrace:      time.Second,
		StopGrace:      5 * time.Second,
		BackoffMin:     100 * time.Millisecond,
		BackoffMax:     30 * time.Second,
		BackoffReset:   time.Minute,
		LockWait:       30 * time.Second,
		CrashLimit:     5,
		SlowCommit:     100 * time.Millisecond,
		SlowCommitFor:  30 * time.Second,
		HandOverRest:   10 * time.Minute,
		LaunchAttempts: 3,
	}
}

// Validate reports every setting that cannot work.
func (s Supervision) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"start timeout", s.StartTimeout},
		{"health interval", s.HealthInterval},
		{"health timeout", s.HealthTimeout},
		{"hang after", s.HangAfter},
		{"slow sync", s.SlowSync},
		{"stuck sync", s.StuckSync},
		{"stop grace", s.StopGrace},
		{"minimal back-off", s.BackoffMin},
		{"lock wait", s.LockWait},
		{"slow commit", s.SlowCommit},
		{"window of slow commits", s.SlowCommitFor},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be positive", d.name))
		}
	}
	if s.BackoffMax < s.BackoffMin {
		errs = append(errs, errors.New("the maximal back-off is below the minimal one"))
	}
	if s.HealthMisses < 1 || s.CrashLimit < 1 || s.LaunchAttempts < 1 {
		errs = append(errs, errors.New("health misses, crash limit and launch attempts must be at least 1"))
	}
	return errors.Join(errs...)
}

// complete fills in defaults and reports what cannot work.
func (s Spec) complete() (Spec, error) {
	if s.Supervision == (Supervision{}) {
		s.Supervision = DefaultSupervision()
	}
	if s.Start.HostLease == 0 {
		s.Start.HostLease = DefaultHostLease
	}
	// A loop must be given a few elections before it counts as hung.
	s.Supervision.HangAfter = max(s.Supervision.HangAfter, 3*s.Start.Timing.ElectionTimeout)
	// What takes less than an election is not made better by one.
	s.Supervision.SlowCommit = max(s.Supervision.SlowCommit, s.Start.Timing.ElectionTimeout)
	if err := s.Supervision.Validate(); err != nil {
		return s, fmt.Errorf("supervision: %w", err)
	}
	switch {
	case s.Name == "":
		return s, errors.New("no backend is named")
	case s.Name == External && s.Path == "":
		return s, errors.New("an external backend needs the path of its executable")
	case s.Name != External && s.Path != "":
		return s, fmt.Errorf("backend %s is built in and takes no path", s.Name)
	case s.RunDir == "":
		return s, errors.New("no directory for the plugin's socket is set")
	}
	if b, err := hex.DecodeString(s.SHA256); err != nil || (s.SHA256 != "" && len(b) != 32) {
		return s, fmt.Errorf("sha256 %q is not 64 hexadecimal digits", s.SHA256)
	}
	return s, nil
}
