package configs

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value says what a leaf must look like.
type value struct {
	kind     string   // text, path, file, int, bool, duration, bind, address, choice, sha256, list
	of       []string // of a choice
	min, max *int64   // of an int or duration
}

// parse turns the text of a value, which all sources have, into what Config holds.
// The error says what is wrong with it, without the key.
func (v value) parse(text string) (any, error) {
	switch v.kind {
	case "int":
		return v.integer(text)
	case "bool":
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case "duration":
		return v.duration(text)
	case "bind", "address":
		return text, address(text, v.kind == "bind")
	case "choice":
		return text, v.choice(text)
	case "sha256":
		if b, err := hex.DecodeString(text); text != "" && (err != nil || len(b) != 32) {
			return nil, fmt.Errorf("%q is not a SHA-256 checksum (64 hexadecimal digits)", text)
		}
	case "file":
		if err := readable(text); err != nil {
			return nil, err
		}
	case "list":
		if text == "" {
			return []string{}, nil
		}
		return strings.Split(text, ","), nil
	}
	return text, nil
}

func (v value) integer(text string) (any, error) {
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number", text)
	}
	return i, v.within(i, func(i int64) string { return strconv.FormatInt(i, 10) })
}

func (v value) duration(text string) (any, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a duration (examples: 500ms, 1s)", text)
	}
	if d < 0 {
		return nil, fmt.Errorf("%q is negative", text)
	}
	return d, v.within(int64(d), func(i int64) string { return time.Duration(i).String() })
}

func (v value) within(i int64, text func(int64) string) error {
	switch {
	case v.min != nil && i < *v.min:
		return fmt.Errorf("%s is too small, the least is %s", text(i), text(*v.min))
	case v.max != nil && i > *v.max:
		return fmt.Errorf("%s is too large, the most is %s", text(i), text(*v.max))
	}
	return nil
}

func (v value) choice(text string) error {
	if slices.Contains(v.of, text) {
		return nil
	}
	message := fmt.Sprintf("%q is none of %s", text, strings.Join(v.of, ", "))
	if guess := nearest(text, v.of); guess != "" {
		message += fmt.Sprintf("; did you mean %q?", guess)
	}
	return fmt.Errorf("%s", message)
}

// address checks host:port. Empty is allowed everywhere: it stands for something else.
func address(text string, bind bool) error {
	if text == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not an address (example: 127.0.0.1:9092)", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && !bind {
		return fmt.Errorf("%q has no port between 1 and 65535 (example: 127.0.0.1:9092)", text)
	}
	if !bind && wildcard(host) {
		return fmt.Errorf("%q has no host that others could dial", text)
	}
	return nil
}

// wildcard says whether a host stands for every address of the machine.
func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// readable checks that a file is there; empty is allowed.
func readable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read the file: %w", err)
	}
	return f.Close()
}
