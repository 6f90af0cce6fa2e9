package configs

import (
	"fmt"
	"strings"
)

// Origin is where a value comes from.
type Origin struct {
	File         string // empty if it is not from the file
	Line, Column int
	Name         string // of the environment variable or flag, with its kind
}

// String returns "file:line", the variable or flag, or "default".
func (o Origin) String() string {
	switch {
	case o.File != "":
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case o.Name != "":
		return o.Name
	default:
		return "default"
	}
}

// layer is what one source sets: keys of leaves to their values.
type layer map[string]any

// loader reads the sources, one after the other, and collects what is wrong.
type loader struct {
	src      Source
	problems Problems
	origins  map[string]Origin // of values
	sections map[string]Origin // of what holds values, in the file

	// advertised are the keys of what other nodes dial that were set, before what was
	// not set is filled in.
	advertised map[string]bool

	// inThemselves is how many of the problems are about one value alone.
	inThemselves int
}

// complain adds a problem with a key, at its origin. message does not have the key.
func (l *loader) complain(key string, at Origin, message string) {
	l.add(key, at, key+": "+message)
}

func (l *loader) add(key string, at Origin, message string) {
	p := Problem{Key: key, Message: message, Source: at.Name}
	if at.File != "" {
		p.Line, p.Column = at.Line, at.Column
	}
	l.problems.List = append(l.problems.List, p)
}

// unknown adds the problem that key does not exist.
func (l *loader) unknown(key string, at Origin, show func(key string) string) {
	message := fmt.Sprintf("unknown key %q", show(key))
	if guess := nearestKey(key); guess != "" {
		message += fmt.Sprintf("; did you mean %q?", show(guess))
	}
	l.add(key, at, message)
}

// set checks a value that came as text, and puts it into the layer.
func (l *loader) set(into layer, n *node, key, text string, at Origin) {
	v, err := n.value.parse(text)
	if err != nil {
		l.complain(key, at, err.Error())
		return
	}
	into[key] = v
	l.origins[key] = at
}

// below says whether a key is prefix or lies under it.
func below(key, prefix string) bool {
	return key == prefix || strings.HasPrefix(key, prefix+"/")
}

// place returns where to complain about a key: where it stands, or the nearest section
// or list item around it that stands somewhere.
func (l *loader) place(key string) Origin {
	for {
		if o, ok := l.origins[key]; ok {
			return o
		}
		if o, ok := l.sections[key]; ok {
			return o
		}
		i := strings.LastIndex(key, "/")
		if i < 0 {
			return Origin{}
		}
		key = key[:i]
	}
}
