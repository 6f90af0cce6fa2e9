package wal

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// quoted is bytes that a person may want to read: a Go string in text, a string or
// null in JSON.
type quoted []byte

// text prints to the text form; Flush returns the error.
func (d *dumper) text(format string, args ...any) {
	if !d.opts.JSON {
		_, _ = fmt.Fprintf(d.w, format, args...)
	}
}

// file begins a file: what follows is of it. Text names the files of records only.
func (d *dumper) file(name, header string) {
	d.at = name
	switch name {
	case metadataFile, checkpointFile, cleanFile, epochsFile:
	default:
		d.text("Dumping %s\n%s", filepath.Join(d.dir, name), header)
	}
}

// line prints names and values, as Kafka's tool does or as a JSON object.
func (d *dumper) line(kind, prefix string, pairs ...any) {
	if d.opts.JSON {
		d.object(kind, pairs)
		return
	}
	d.text("%s", prefix)
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			d.text(" ")
		}
		if q, ok := pairs[i+1].(quoted); ok {
			d.text("%s: %q", pairs[i], []byte(q))
			continue
		}
		d.text("%s: %v", pairs[i], pairs[i+1])
	}
	d.text("\n")
}

// say is line with a sentence for people, which has the values in their order.
func (d *dumper) say(kind, sentence string, pairs ...any) {
	if d.opts.JSON {
		d.object(kind, pairs)
		return
	}
	values := make([]any, 0, len(pairs)/2)
	for i := 1; i < len(pairs); i += 2 {
		values = append(values, pairs[i])
	}
	d.text(sentence+"\n", values...)
}

func (d *dumper) object(kind string, pairs []any) {
	o := map[string]any{"kind": kind, "file": filepath.Join(d.dir, d.at)}
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		switch v := pairs[i+1].(type) {
		case quoted:
			o[name] = nil
			if v != nil {
				o[name] = string(v)
			}
		case fmt.Stringer:
			o[name] = v.String()
		default:
			o[name] = v
		}
	}
	b, err := json.Marshal(o)
	if err != nil {
		d.problems = append(d.problems, fmt.Errorf("print %s: %w", d.at, err))
		return
	}
	_, _ = d.w.Write(append(b, '\n')) // Flush returns the error
}
