package configs

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// node is a place in the schema: a section with named children, a list or dictionary
// whose children have all one form, or a single value.
type node struct {
	kind     nodeKind
	doc      string
	names    []string // of a section's children, in order
	children map[string]*node
	elem     *node // of a list or dictionary
	value    value // of a leaf
	numbered bool  // a dictionary whose names are node ids
}

type nodeKind int

const (
	leaf       nodeKind = iota
	section             // children by name
	records             // a list of sections
	dictionary          // names that the operator chooses
	free                // anything: the backend's own
)

// schema is Config's.
var schema = newNode(reflect.TypeFor[Config](), "")

func newNode(t reflect.Type, tag reflect.StructTag) *node {
	n := &node{doc: tag.Get("doc")}
	switch {
	case t.Kind() == reflect.Struct:
		n.kind, n.children = section, make(map[string]*node)
		for f := range fields(t) {
			name := f.Tag.Get("koanf")
			n.names = append(n.names, name)
			n.children[name] = newNode(f.Type, f.Tag)
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		n.kind, n.elem = records, newNode(t.Elem(), "")
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Interface:
		n.kind, n.elem = dictionary, &node{kind: free}
	case t.Kind() == reflect.Map:
		n.kind, n.elem = dictionary, newNode(t.Elem(), tag)
		n.numbered = t.Key().Kind() == reflect.Int32
	default:
		n.value = newValue(tag)
	}
	return n
}

// fields yields the fields of a struct that are keys.
func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for f := range t.Fields() {
			if f.Tag.Get("koanf") != "-" && !yield(f) {
				return
			}
		}
	}
}

// child returns the node that name leads to, or nil.
func (n *node) child(name string) *node {
	switch n.kind {
	case section:
		return n.children[name]
	case records:
		if _, err := strconv.ParseUint(name, 10, 8); err == nil {
			return n.elem
		}
	case dictionary:
		return n.elem
	}
	return nil
}

// find returns the node of a key, or nil.
func (n *node) find(key string) *node {
	for name := range strings.SplitSeq(key, "/") {
		if n = n.child(name); n == nil {
			return nil
		}
	}
	return n
}

// keys returns every key that has a fixed name, depth first.
func (n *node) keys(prefix string) []string {
	var all []string
	for _, name := range n.names {
		key := join(prefix, name)
		all = append(all, key)
		all = append(all, n.children[name].keys(key)...)
	}
	return all
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "/" + name
}

// newValue reads the tags of a leaf.
func newValue(tag reflect.StructTag) value {
	v := value{kind: tag.Get("kind"), of: strings.Fields(tag.Get("of"))}
	v.min, v.max = bound(v.kind, tag, "min"), bound(v.kind, tag, "max")
	return v
}

func bound(kind string, tag reflect.StructTag, name string) *int64 {
	text, ok := tag.Lookup(name)
	if !ok {
		return nil
	}
	if kind == "duration" {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic("configs: bad tag " + text)
		}
		return new(int64(d))
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic("configs: bad tag " + text)
	}
	return &i
}
