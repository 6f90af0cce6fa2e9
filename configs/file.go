package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a config file.
const maxFileBytes = 1 << 20

// readFile returns what the file sets. lists are the keys of the lists in it: they
// replace the default's as a whole.
func (l *loader) readFile() (settings layer, lists []string) {
	settings = make(layer)
	root := l.parseFile()
	if root == nil {
		return settings, nil
	}
	w := walker{loader: l, into: settings}
	w.walk(schema, "", root)
	return settings, w.lists
}

// parseFile returns the root of the YAML document, or nil if there is none.
func (l *loader) parseFile() *yaml.Node {
	f, err := os.Open(l.src.Path)
	if err != nil {
		l.add("", Origin{}, "cannot be read: "+reason(err))
		return nil
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil || len(content) > maxFileBytes {
		l.add("", Origin{}, fmt.Sprintf("cannot be read, or is larger than %d bytes", maxFileBytes))
		return nil
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // empty: all defaults
	case err != nil:
		l.syntax(err)
		return nil
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.add("", Origin{}, "has more than one YAML document")
	}
	return doc.Content[0]
}

// reason returns the last part of an error about a path that is named already.
func reason(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax turns an error of the YAML parser, which has its line in the text, into a problem.
func (l *loader) syntax(err error) {
	at, text := Origin{}, err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			at = Origin{File: l.src.Path, Line: line, Column: 1}
		}
	}
	l.add("", at, "is not YAML: "+text)
}

// walker goes through the nodes of a file along the schema.
type walker struct {
	*loader
	into  layer
	lists []string
}

func (w *walker) origin(n *yaml.Node) Origin {
	return Origin{File: w.src.Path, Line: n.Line, Column: n.Column}
}

func (w *walker) walk(s *node, key string, n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // "tls:" with nothing behind it: not set
	}
	switch s.kind {
	case section, dictionary:
		w.mapping(s, key, n)
	case records:
		w.sequence(s, key, n)
	case free:
		var v any
		if err := n.Decode(&v); err != nil {
			w.complain(key, w.origin(n), err.Error())
			return
		}
		w.into[key], w.origins[key] = v, w.origin(n)
	case leaf:
		w.leaf(s, key, n)
	}
}

func (w *walker) mapping(s *node, key string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		w.add(key, w.origin(n), strings.TrimPrefix(key+": must have keys and values, one per line", ": "))
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := join(key, name.Value)
		child := s.child(name.Value)
		switch {
		case seen[name.Value]:
			w.complain(path, w.origin(name), "is there twice")
		case child == nil:
			w.unknown(path, w.origin(name), func(k string) string { return k })
		case s.kind == dictionary && strings.Contains(name.Value, "/"):
			w.complain(path, w.origin(name), "a name must not have a slash")
		case s.numbered && !nodeID(name.Value):
			w.complain(path, w.origin(name), fmt.Sprintf("%q is not a node id (1, 2, 3 and so on)", name.Value))
		default:
			w.sections[path] = w.origin(name)
			w.walk(child, path, value)
		}
		seen[name.Value] = true
	}
}

// nodeID says whether text is the id of a node.
func nodeID(text string) bool {
	id, err := strconv.ParseInt(text, 10, 32)
	return err == nil && id > 0
}

func (w *walker) sequence(s *node, key string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		w.complain(key, w.origin(n), "must be a list (each item begins with a dash)")
		return
	}
	w.lists = append(w.lists, key)
	for i, item := range n.Content {
		path := join(key, strconv.Itoa(i))
		w.sections[path] = w.origin(item)
		w.walk(s.elem, path, item)
	}
}

func (w *walker) leaf(s *node, key string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode:
		w.set(w.into, s, key, n.Value, w.origin(n))
	case s.value.kind != "list":
		w.complain(key, w.origin(n), "must be a single value")
	case n.Kind != yaml.SequenceNode:
		w.complain(key, w.origin(n), "must be a list, [a, b]")
	default:
		list := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				w.complain(key, w.origin(item), "must be a list of single values")
				return
			}
			list = append(list, item.Value)
		}
		w.into[key], w.origins[key] = list, w.origin(n)
	}
}
