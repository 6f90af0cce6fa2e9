package configs

import (
	"fmt"
	"strings"
)

// Entry is a key, explained.
type Entry struct {
	Key     string `json:"key"     yaml:"key"`
	Value   string `json:"value"   yaml:"value"`  // as it would stand in the file
	Origin  string `json:"origin"  yaml:"origin"` // "default", "file:line", "environment variable X", "flag --x", "derived"
	Meaning string `json:"meaning" yaml:"meaning"`
}

// Explain returns every key with its value, where that came from, and what it means,
// in the order of the file. Values that were left empty and follow from others are
// shown as they will be used. The error is Load's.
func Explain(src Source) ([]Entry, error) {
	cfg, err := Load(src)
	if err != nil {
		return nil, err
	}
	defaults := flatten(src.defaults()).layer()
	var entries []Entry
	for _, s := range flatten(cfg) {
		e := Entry{Key: s.key, Value: text(s.value), Meaning: s.doc, Origin: "default"}
		if o, ok := cfg.Origins[s.key]; ok {
			e.Origin = o.String()
		} else if d, ok := defaults[s.key]; !ok || text(d) != e.Value {
			e.Origin = "derived"
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// File returns quorate.yaml: every key with its default and what it means.
func File() string {
	var b strings.Builder
	b.WriteString("# Every key of Quorate with its default. A file needs only what differs.\n")
	b.WriteString("# In the environment consensus/timing/heartbeat is QUORATE_CONSENSUS__TIMING__HEARTBEAT.\n")
	values := flatten(Default()).layer()
	for _, name := range schema.names {
		n := schema.children[name]
		fmt.Fprintf(&b, "\n# %s\n", n.doc)
		write(&b, n, name, name, "", values)
	}
	return b.String()
}

// write adds the lines of one key.
func write(b *strings.Builder, n *node, name, key, indent string, values layer) {
	switch n.kind {
	case section:
		fmt.Fprintf(b, "%s%s:\n", indent, name)
		for _, child := range n.names {
			if n.children[child].kind == section {
				fmt.Fprintf(b, "%s  # %s\n", indent, n.children[child].doc)
			}
			write(b, n.children[child], child, join(key, child), indent+"  ", values)
		}
	case records:
		fmt.Fprintf(b, "%s%s:\n", indent, name)
		for i, child := range n.elem.names {
			start := indent + "    "
			if i == 0 {
				start = indent + "  - "
			}
			var item strings.Builder
			write(&item, n.elem.children[child], child, key+"/0/"+child, indent+"    ", values)
			b.WriteString(start + strings.TrimPrefix(item.String(), indent+"    "))
		}
	case dictionary:
		fmt.Fprintf(b, "%s%s: {} # %s\n", indent, name, n.doc)
	case leaf, free:
		fmt.Fprintf(b, "%s%s: %s # %s\n", indent, name, text(values[key]), n.doc)
	}
}
