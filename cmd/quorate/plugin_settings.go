package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// setting is one of a backend's own settings, as its JSON Schema tells of it.
type setting struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Default any    `json:"default,omitempty"`
	Range   string `json:"range,omitempty"`
	Meaning string `json:"meaning,omitempty"`
}

// schemaProperty is the part of JSON Schema that a table has room for.
type schemaProperty struct {
	Type        any         `json:"type"` // a name, or a list of them
	Description string      `json:"description"`
	Default     any         `json:"default"`
	Enum        []any       `json:"enum"`
	Minimum     json.Number `json:"minimum"`
	Maximum     json.Number `json:"maximum"`
}

// settingsOf returns the settings in a schema by name; none gives an empty list.
func settingsOf(schema json.RawMessage) ([]setting, error) {
	settings := []setting{}
	if len(schema) == 0 {
		return settings, nil
	}
	var object struct {
		Properties map[string]schemaProperty `json:"properties"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(schema)))
	decoder.UseNumber() // 67108864 must not become 6.7108864e+07
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(object.Properties)) {
		p := object.Properties[name]
		settings = append(settings, setting{
			Name: name, Type: p.typeName(), Default: p.Default, Range: p.allowed(), Meaning: p.Description,
		})
	}
	return settings, nil
}

func (p schemaProperty) typeName() string {
	switch t := p.Type.(type) {
	case string:
		return t
	case []any:
		var names []string
		for _, name := range t {
			names = append(names, fmt.Sprint(name))
		}
		return strings.Join(names, " or ")
	default:
		return "any"
	}
}

// allowed is what the schema says of a value beyond its type.
func (p schemaProperty) allowed() string {
	switch {
	case len(p.Enum) > 0:
		var values []string
		for _, v := range p.Enum {
			values = append(values, fmt.Sprint(v))
		}
		return strings.Join(values, ", ")
	case p.Minimum != "" && p.Maximum != "":
		return fmt.Sprintf("%s to %s", p.Minimum, p.Maximum)
	case p.Minimum != "":
		return fmt.Sprintf("%s or more", p.Minimum)
	case p.Maximum != "":
		return fmt.Sprintf("%s or less", p.Maximum)
	default:
		return ""
	}
}
