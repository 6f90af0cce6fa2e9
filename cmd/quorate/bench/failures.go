package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// mostKinds bounds how many kinds of errors are told apart.
const mostKinds = 50

// failures counts errors by kind.
type failures struct {
	mu    sync.Mutex
	kinds map[string]int64
}

func (f *failures) add(err error, n int64) {
	kind := kindOf(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		f.kinds = map[string]int64{}
	}
	if _, known := f.kinds[kind]; !known && len(f.kinds) >= mostKinds {
		kind = "others"
	}
	f.kinds[kind] += n
}

func (f *failures) count() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.kinds)
}

// kindOf is Kafka's name of an error, or what became of the connection.
func kindOf(err error) string {
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		return code.Message
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no.Error()
	}
	if op, ok := errors.AsType[net.Error](err); ok && op.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return "connection closed"
	}
	return err.Error()
}

// mayPass says whether to try again after an error: if a broker says so, or if it
// did not say anything.
func mayPass(err error) bool {
	if code, ok := errors.AsType[*kerr.Error](err); ok {
		return code.Retriable
	}
	return !errors.Is(err, context.Canceled)
}

// LostError says that records were not acknowledged, or not read again.
type LostError struct{ Records int64 }

func (e *LostError) Error() string {
	if e.Records == 1 {
		return "1 record was lost"
	}
	return fmt.Sprintf("%d records were lost", e.Records)
}
