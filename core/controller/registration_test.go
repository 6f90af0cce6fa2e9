package controller

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/protocol"
)

// A broker that starts soon after its end waits for its own old session, which is
// nobody's concern; one that is somebody else's double is.
func TestRefusalsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := RegistrationConfig{Config: DefaultConfig()}
		r := &Registration{cfg: cfg, log: slog.New(slog.NewTextHandler(&log, nil))}
		attempt := func(code protocol.ErrorCode, times int) {
			for range times {
				r.tellRefusal(code, "why")
				time.Sleep(100 * time.Millisecond)
			}
		}
		warnings := func(what string, want int) {
			t.Helper()
			if got := strings.Count(log.String(), "level=WARN"); got != want {
				t.Errorf("%s: %d warnings, want %d\n%s", what, got, want, log.String())
			}
		}
		attempt(protocol.DuplicateBrokerRegistration, int(2*cfg.SessionTimeout/(100*time.Millisecond)))
		warnings("as long as the old session may last", 0)
		if got := strings.Count(log.String(), "level=INFO"); got != 1 {
			t.Errorf("%d lines, want one\n%s", got, log.String())
		}
		attempt(protocol.DuplicateBrokerRegistration, 20)
		warnings("after that", 1)
		attempt(protocol.InconsistentClusterID, 20)
		warnings("another reason", 2)
	})
}
