// Command quorate is the broker, its consensus plugins and its admin tools in one
// binary. `quorate serve` runs a node; `quorate --help` lists the rest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/quorate/quorate/cmd/quorate/scratch"
)

// Exit codes beside those of consensus: 1 for a failure, 2 for bad usage or a bad
// config file, 130 for a command that was interrupted before it was done.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// exitError is an error with the exit code it deserves. A nil err has been
// printed already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// quietly makes an interruption the only thing that is told, by the exit code, if
// there was one.
func quietly(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

func main() {
	if name, ok := pluginToServe(os.Args[1:]); ok {
		servePlugin(name) // does not return
	}
	if len(os.Args) == 3 && os.Args[1] == scratch.Command {
		os.Exit(exitCode(scratch.Sweep(os.Args[2], os.Stdin), os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err := newRoot().ExecuteContext(ctx)
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode prints err, once, and returns the code to end with.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	code := exitFailure
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err == nil {
			return e.code
		}
		code = e.code
	}
	fmt.Fprintf(stderr, "quorate: %v\n", err)
	return code
}
