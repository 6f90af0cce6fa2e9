package protocol

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is an error that a client may see: a Kafka code and a sentence that says
// what was wrong and how to fix it. Everything else that goes wrong reaches a
// client as UNKNOWN_SERVER_ERROR without its text.
type Error struct {
	Code    ErrorCode
	Message string
}

// Errorf returns an Error. A %w verb is not unwrapped: what a client may see ends here.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns Kafka's name for the code and the message.
func (e *Error) Error() string {
	return e.Code.String() + ": " + e.Message
}

// Is makes errors.Is compare codes, so that a bare *Error works as a sentinel.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// String returns Kafka's name for the code: "NOT_LEADER_OR_FOLLOWER".
func (c ErrorCode) String() string {
	switch c {
	case None:
		return "NONE"
	case NotLeaderOrFollower: // the library still has the name from before KIP-392
		return "NOT_LEADER_OR_FOLLOWER"
	}
	if e := kerr.TypedErrorForCode(int16(c)); e != nil {
		return e.Message
	}
	return fmt.Sprintf("ERROR_%d", int16(c))
}

// CodeOf maps any error to the code a client gets: nil to None, an *Error to its
// own, an ended context to REQUEST_TIMED_OUT, all else to UNKNOWN_SERVER_ERROR.
func CodeOf(err error) ErrorCode {
	if err == nil {
		return None
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return RequestTimedOut
	}
	return UnknownServerError
}

// MessageOf returns the text a client may see for err, or nil.
func MessageOf(err error) *string {
	if e, ok := errors.AsType[*Error](err); ok && e.Message != "" {
		return &e.Message
	}
	return nil
}
