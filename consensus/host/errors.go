package host

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/consensus"
)

// ExitError is why a backend could not be launched: one sentence, and the code
// that the broker should exit with.
type ExitError struct {
	Code   int
	Reason string
	Err    error // what it came from, if anything
}

func (e *ExitError) Error() string { return e.Reason }
func (e *ExitError) Unwrap() error { return e.Err }

// FailedError is why Run gave up on a backend that had been running.
type FailedError struct {
	ExitCode int
	Reason   string
	Err      error
}

func (e *FailedError) Error() string { return e.Reason }
func (e *FailedError) Unwrap() error { return e.Err }

// exitFailure is the exit code of failures that have none of their own.
const exitFailure = 1

// attemptError is why one start, or one life, of the process ended.
type attemptError struct {
	err   error
	code  int  // exit code for the broker
	final bool // another attempt would not help
}

func (e *attemptError) Error() string { return e.err.Error() }
func (e *attemptError) Unwrap() error { return e.err }

// finalError is an attempt's error that needs an operator.
func finalError(code int, format string, args ...any) *attemptError {
	return &attemptError{err: fmt.Errorf(format, args...), code: code, final: true}
}

// judge says what err and the process's exit code (-1 = none) mean for the next
// attempt. The exit code is the plugin's last word.
func judge(err error, exit int) *attemptError {
	if known, ok := errors.AsType[*attemptError](err); ok {
		return known
	}
	code := exit
	switch exit {
	case consensus.ExitStorage, consensus.ExitLocked, consensus.ExitConfig:
	default:
		code = codeOf(err)
	}
	final := code == consensus.ExitStorage || code == consensus.ExitConfig
	return &attemptError{err: err, code: code, final: final}
}

// codeOf returns the exit code that the contract's error stands for.
func codeOf(err error) int {
	switch {
	case errors.Is(err, consensus.ErrStorageFailed):
		return consensus.ExitStorage
	case errors.Is(err, consensus.ErrDataDirLocked):
		return consensus.ExitLocked
	case errors.Is(err, consensus.ErrDataIncompatible),
		errors.Is(err, consensus.ErrInvalidArgument),
		errors.Is(err, consensus.ErrUnsupported):
		return consensus.ExitConfig
	default:
		return exitFailure
	}
}
