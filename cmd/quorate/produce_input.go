package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLine bounds a line of `produce`'s input.
const maxLine = 16 << 20

// source calls f with one value after the other until there are no more, or ctx
// ends, which is no error.
type source func(ctx context.Context, f func(value string)) error

// valuesOf has the values as they are, line feeds included.
func valuesOf(values []string) source {
	return func(ctx context.Context, f func(string)) error {
		for _, v := range values {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // an interruption is no error of the input
			}
			f(v)
		}
		return nil
	}
}

// linesOf has the lines of r. They are read in a goroutine of their own, since a
// read from a terminal does not end when ctx does; it ends with the process.
func linesOf(r io.Reader) source {
	return func(ctx context.Context, f func(string)) error {
		lines, end := make(chan string), make(chan error, 1)
		go func() { end <- scan(ctx, r, lines) }()
		for {
			select {
			case <-ctx.Done():
				return nil
			case line := <-lines:
				f(line)
			case err := <-end:
				return err
			}
		}
	}
}

// scan sends the lines of r until it ends or ctx does.
func scan(ctx context.Context, r io.Reader, lines chan<- string) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	number := 0
	for scanner.Scan() {
		number++
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return nil
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d of the input is longer than %d MiB", number+1, maxLine>>20)
	}
	return scanner.Err()
}

// record makes a record of an argument or a line.
func (f *produceFlags) record(line string) *kgo.Record {
	r := &kgo.Record{Partition: max(f.partition, 0), Value: []byte(line)}
	if f.key != "" {
		r.Key = []byte(f.key)
	}
	if f.keyDelimiter != "" {
		if key, value, ok := strings.Cut(line, f.keyDelimiter); ok {
			r.Key, r.Value = []byte(key), []byte(value)
		}
	}
	return r
}
