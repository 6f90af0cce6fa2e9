package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

func TestExitCode(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		said string
	}{
		{"nothing", nil, 0, ""},
		{"a failure", errors.New("it broke"), 1, "quorate: it broke\n"},
		{"usage", usagef("no flag %s", "x"), 2, "quorate: no flag x\n"},
		{"usage, wrapped", fmt.Errorf("serve: %w", usagef("no flag")), 2, "quorate: serve: no flag\n"},
		{"printed already", &exitError{exitUsage, nil}, 2, ""},
		{"the backend's code", withExitCode(&host.ExitError{Code: 78, Reason: "bad options"}), 78, "quorate: bad options\n"},
		{"the backend's damage", withExitCode(&host.ExitError{Code: 74, Reason: "damage in 1.seg", Err: consensus.ErrStorageFailed}), 74, "quorate: damage in 1.seg; if a file is damaged and a majority of the nodes is alive, start with an empty data directory and cluster/join: true, else see quorate consensus recover\n"},
		{"the backend's end", withExitCode(fmt.Errorf("run: %w", &host.FailedError{ExitCode: 74, Reason: "the disk failed"})), 74, "quorate: the disk failed\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			if code := exitCode(tt.err, &said); code != tt.code || said.String() != tt.said {
				t.Errorf("got %d and %q, want %d and %q", code, said.String(), tt.code, tt.said)
			}
		})
	}
}

func TestQuietly(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	if err := quietly(ctx, os.ErrClosed); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the error", err)
	}
	interrupt()
	var said strings.Builder
	if code := exitCode(quietly(ctx, os.ErrClosed), &said); code != exitInterrupted || said.Len() > 0 {
		t.Errorf("interrupted: got %d and %q", code, said.String())
	}
	if err := quietly(ctx, nil); err != nil {
		t.Errorf("done before the interruption: got %v", err)
	}
}

func TestExplain(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	tests := []struct {
		name    string
		err     error
		message string
		want    string
	}{
		{"the broker's words", kerr.TopicAlreadyExists, "Topic 'a' already exists.", "Topic 'a' already exists (TOPIC_ALREADY_EXISTS)"},
		{"our words", kerr.UnknownTopicOrPartition, "", "there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"},
		{"our words instead of Kafka's", kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition.Description, "there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"},
		{"Kafka's words", kerr.InvalidPartitions, "", "Number of partitions is below 1 (INVALID_PARTITIONS)"},
		{"no connection", fmt.Errorf("unable to dial: %w", refused), "", "connection refused"},
		{"no address", &net.DNSError{Name: "nowhere", IsNotFound: true}, "", "no address for nowhere"},
		{"no answer", fmt.Errorf("read: %w", context.DeadlineExceeded), "", "no answer in time"},
		{"another", errors.New("odd"), "", "odd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := explain(tt.err, tt.message)
			if err.Error() != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}
}

func TestConnectionCheck(t *testing.T) {
	tests := []struct {
		c    connection
		want string
	}{
		{connection{bootstrap: []string{"a:9092", "b", "[::1]:9092", "::1"}, timeout: 1}, ""},
		{connection{bootstrap: []string{"a:9092"}}, "--timeout is 0s"},
		{connection{bootstrap: []string{"a:nine"}, timeout: 1}, "--bootstrap a:nine has no port"},
		{connection{bootstrap: []string{"a:1", "b:0"}, timeout: 1}, "--bootstrap b:0 has no port"},
		{connection{bootstrap: []string{"a:65536"}, timeout: 1}, "--bootstrap a:65536 has no port"},
	}
	for _, tt := range tests {
		err := tt.c.check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%v: got %v, want %q", tt.c, err, tt.want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range []string{"0 records", "1 record", "2 records"} {
		if got := plural(n, "record"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
