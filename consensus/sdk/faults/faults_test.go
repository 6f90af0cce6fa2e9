package faults

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestBefore(t *testing.T) {
	if err := In("").Before(Sync); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	dir := t.TempDir()
	i := In(dir)
	if err := i.Before(Sync); err != nil {
		t.Errorf("without a fault: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, Armed)); err != nil {
		t.Errorf("the first operation does not say that it looked: %v", err)
	}
	tests := []struct {
		content string
		want    error // nil: any error
		delay   time.Duration
	}{
		{content: "error EIO", want: syscall.EIO},
		{content: "error ENOSPC\n", want: syscall.ENOSPC},
		{content: "error EWHATEVER"},
		{content: "delay soon"},
		{content: ""},
		{content: "delay 20ms", delay: 20 * time.Millisecond},
	}
	for _, tt := range tests {
		if err := os.WriteFile(filepath.Join(dir, Write), []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := i.Before(Write)
		switch {
		case tt.delay > 0 && (err != nil || time.Since(began) < tt.delay):
			t.Errorf("%q: %v after %s", tt.content, err, time.Since(began))
		case tt.delay == 0 && (err == nil || tt.want != nil && !errors.Is(err, tt.want)):
			t.Errorf("%q: got %v, want %v", tt.content, err, tt.want)
		}
		if err := i.Before(Read); err != nil {
			t.Errorf("another operation is hit by %q: %v", tt.content, err)
		}
	}
}
