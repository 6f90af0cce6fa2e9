// Package options reads a backend's own settings, StartConfig.Options, in the
// manner of package flag: each is declared once, with a default, what is allowed
// and what it is for, and the JSON Schema that operators are shown, the check
// before the start and the values come from that.
//
//	func settings(o *Options) *options.Set {
//		s := &options.Set{}
//		s.Int(&o.SegmentBytes, "log_segment_bytes", 64<<20, 1<<20, 1<<30, "size of a file of the log")
//		s.Choice(&o.Profile, "profile", "lan", []string{"lan", "small", "wan"}, "what to save")
//		return s
//	}
//
// Schema, Validate and Start of a backend are then
//
//	settings(new(Options)).Schema()
//	settings(new(Options)).Read(raw)
//	problems := settings(&b.options).Read(cfg.Options); err := options.Error(problems)
//
// The zero Set is that of a backend without settings.
package options

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/consensus"
)

// Set is the settings of a backend. Declare all of them before anything else; the
// variables have their defaults from then on.
type Set struct{ fields []field }

// field is one setting. set takes a value or says what is wrong with it.
type field struct {
	name   string
	schema property
	set    func(json.RawMessage) (problem string)
}

// property is a setting in the JSON Schema.
type property struct {
	Type        string   `json:"type"`
	Enum        []string `json:"enum,omitempty"`
	Minimum     *int64   `json:"minimum,omitempty"`
	Maximum     *int64   `json:"maximum,omitempty"`
	Default     any      `json:"default"`
	Description string   `json:"description"`
}

// Int declares a whole number from low to high.
func (s *Set) Int(to *int64, name string, value, low, high int64, about string) {
	*to = value
	s.add(name, property{Type: "integer", Minimum: &low, Maximum: &high, Default: value, Description: about}, func(raw json.RawMessage) string {
		n, err := decode[int64](raw)
		if err != nil || n < low || n > high {
			return fmt.Sprintf("want a whole number from %d to %d, got %.40s", low, high, raw)
		}
		*to = n
		return ""
	})
}

// Bool declares a switch.
func (s *Set) Bool(to *bool, name string, value bool, about string) {
	*to = value
	s.add(name, property{Type: "boolean", Default: value, Description: about}, func(raw json.RawMessage) string {
		on, err := decode[bool](raw)
		if err != nil {
			return fmt.Sprintf("want true or false, got %.40s", raw)
		}
		*to = on
		return ""
	})
}

// Choice declares a word that is one of several.
func (s *Set) Choice(to *string, name, value string, of []string, about string) {
	*to = value
	s.add(name, property{Type: "string", Enum: of, Default: value, Description: about}, func(raw json.RawMessage) string {
		word, err := decode[string](raw)
		if err != nil || !slices.Contains(of, word) {
			return fmt.Sprintf("want one of %s, got %.40s", strings.Join(of, ", "), raw)
		}
		*to = word
		return ""
	})
}

func (s *Set) add(name string, p property, set func(json.RawMessage) string) {
	s.fields = append(s.fields, field{name, p, set})
}

// decode refuses null, which package json takes for "leave it as it is".
func decode[T any](raw json.RawMessage) (value T, err error) {
	if bytes.Equal(raw, []byte("null")) {
		return value, errors.New("null")
	}
	err = json.Unmarshal(raw, &value)
	return value, err
}

// Read sets the variables to what raw says, an object or nothing, and returns
// every problem, in the order of the declarations and then by name.
func (s *Set) Read(raw json.RawMessage) []consensus.Diagnostic {
	raw = bytes.TrimSpace(raw)
	var given map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &given); err != nil {
			return []consensus.Diagnostic{{Message: fmt.Sprintf("the options are not a JSON object: %v", err)}}
		}
	}
	var problems []consensus.Diagnostic
	for _, f := range s.fields {
		value, ok := given[f.name]
		delete(given, f.name)
		if !ok {
			continue
		}
		if problem := f.set(value); problem != "" {
			problems = append(problems, consensus.Diagnostic{Path: f.name, Message: problem})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		problems = append(problems, consensus.Diagnostic{Path: name, Message: "there is no such option" + s.instead()})
	}
	return problems
}

// instead names the options that there are.
func (s *Set) instead() string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.name)
	}
	if names == nil {
		return ", the backend has none"
	}
	return "; known: " + strings.Join(names, ", ")
}

// Schema returns the JSON Schema of the settings, for consensus.Description.
func (s *Set) Schema() json.RawMessage {
	properties := make(map[string]property)
	for _, f := range s.fields {
		properties[f.name] = f.schema
	}
	schema, err := json.Marshal(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"type":                 "object",
		"properties":           properties,
		"additionalProperties": false,
	})
	if err != nil {
		panic(err) // words, numbers and switches only
	}
	return schema
}

// Error is the error of a Start with these problems, or nil if none of them
// prevents it.
func Error(problems []consensus.Diagnostic) error {
	var errs []error
	for _, p := range problems {
		if !p.Warning {
			errs = append(errs, fmt.Errorf("%w: options/%s: %s", consensus.ErrInvalidArgument, p.Path, p.Message))
		}
	}
	return errors.Join(errs...)
}
