package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// explainedError is an error of a cluster or of the way to it, in words for people.
type explainedError struct {
	text string
	err  error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.err }

// ownWords are said instead of Kafka's, where Kafka's are about its insides.
var ownWords = map[string]string{
	"UNKNOWN_TOPIC_OR_PARTITION": "there is no such topic",
	"GROUP_ID_NOT_FOUND":         "there is no such group",
	"NON_EMPTY_GROUP":            "it has members; stop them first",
	"NOT_ENOUGH_REPLICAS":        "fewer replicas are in sync than min.insync.replicas asks for",
}

// explain says what went wrong: in the broker's own words if it sent some, else
// in ours, else in Kafka's; and the name of the error code.
func explain(err error, message string) error {
	code, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return &explainedError{reason(err), err}
	}
	if message == "" || message == code.Message || message == code.Description {
		message = ownWords[code.Message]
	}
	if message == "" {
		message = code.Description
	}
	return &explainedError{strings.TrimRight(message, ".") + " (" + code.Message + ")", err}
}

// reason is the part of an error that a person can act on: neither the calls
// that led to it nor the names of functions.
func reason(err error) string {
	if _, ok := errors.AsType[*kerr.Error](err); ok {
		return explain(err, "").Error()
	}
	if why := tlsReason(err); why != "" {
		return why
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "no address for " + dns.Name
	}
	if op, ok := errors.AsType[net.Error](err); ok && op.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); ok {
		return "the connection was closed at once: is it a Kafka listener, and does it want TLS (--tls)?"
	}
	return err.Error()
}

// oneLine is a joined error as one sentence.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// noSuchTopic is the error of commands that do not make topics.
func noSuchTopic(name string) error {
	return &explainedError{fmt.Sprintf("there is no topic %q", name), kerr.UnknownTopicOrPartition}
}

// plural is "1 record", "2 records".
func plural[N int | int16 | int32 | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
