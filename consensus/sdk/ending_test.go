package sdk

import (
	"errors"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// A log that is being closed under a reader is no storage that failed, which
// would end the process.
func TestEnding(t *testing.T) {
	failed := errors.Join(consensus.ErrStorageFailed, errors.New("file already closed"))
	tests := []struct {
		name  string
		close func(*Server, *group)
		want  error
	}{
		{"open", func(*Server, *group) {}, consensus.ErrStorageFailed},
		{"the group is closed", func(_ *Server, g *group) { close(g.closed) }, consensus.ErrShuttingDown},
		{"the server stops", func(s *Server, _ *group) { close(s.stopping) }, consensus.ErrShuttingDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, g := NewServer(noBackend{}), &group{closed: make(chan struct{})}
			tt.close(s, g)
			got := s.ending(g, failed)
			for _, sentinel := range []error{consensus.ErrStorageFailed, consensus.ErrShuttingDown} {
				if errors.Is(got, sentinel) != errors.Is(tt.want, sentinel) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
			if s.ending(g, nil) != nil {
				t.Error("no error became one")
			}
		})
	}
}
