package main

import (
	"fmt"
	"strings"
)

// pages are all of them, by file name.
func (f file) pages(law map[string]string) (map[string]string, error) {
	own := f.owners()
	pages := map[string]string{indexPage: f.index(), messagesPage: f.messages(own)}
	for _, r := range f.rpcs {
		page, err := f.page(r, own, law)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		pages[r.name+".md"] = page
	}
	return pages, nil
}

func (f file) page(r rpc, own, law map[string]string) (string, error) {
	here := map[string]bool{r.request: true, r.response: true}
	for name, call := range own {
		here[name] = here[name] || call == r.name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n%s\n\n%s All calls: [README.md](README.md).\n", r.name, mark, r.words, r.shape(here))
	for _, d := range f.types {
		if here[d.name] {
			f.write(&b, d, here)
		}
	}
	if err := writeRules(&b, r, law); err != nil {
		return "", err
	}
	if err := f.writeErrors(&b, r); err != nil {
		return "", err
	}
	if err := r.writeExamples(&b); err != nil {
		return "", err
	}
	return b.String(), nil
}

// owners says of each type which call alone reaches it; of others, and of what a
// call answers but shares with others, nothing.
func (f file) owners() map[string]string {
	own := map[string]string{}
	for _, r := range f.rpcs {
		seen := map[string]bool{}
		f.reach(r.request, seen)
		f.reach(r.response, seen)
		for name := range seen {
			if _, taken := own[name]; taken {
				own[name] = ""
			} else {
				own[name] = r.name
			}
		}
	}
	return own
}

func (f file) reach(name string, seen map[string]bool) {
	d := f.find(name)
	if d == nil || seen[name] {
		return
	}
	seen[name] = true
	for _, m := range d.members {
		f.reach(f.resolve(d, m.kind), seen)
	}
}

func (r rpc) shape(here map[string]bool) string {
	request, response := link(r.request, here), link(r.response, here)
	switch r.streams {
	case "client":
		return fmt.Sprintf("Takes a stream of %s, answers one %s.", request, response)
	case "server":
		return fmt.Sprintf("Takes one %s, answers a stream of %s.", request, response)
	case "both":
		return fmt.Sprintf("Takes a stream of %s, answers a stream of %s; neither waits for the other.", request, response)
	default:
		return fmt.Sprintf("Takes %s, answers %s.", request, response)
	}
}

func (f file) find(name string) *declared {
	for _, d := range f.types {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (f file) write(b *strings.Builder, d *declared, here map[string]bool) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", d.name, d.comment)
	if len(d.members) == 0 {
		if !d.enum {
			b.WriteString("\nIt has no fields.\n")
		}
		return
	}
	if d.enum {
		b.WriteString("\n| value | number | |\n|---|---|---|\n")
	} else {
		b.WriteString("\n| field | type | |\n|---|---|---|\n")
	}
	for _, m := range d.members {
		if d.enum {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.name, m.number, m.comment)
			continue
		}
		comment := m.comment
		if m.oneof != "" {
			comment += " *(one of `" + m.oneof + "`)*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.name, f.kindOf(d, m, here), comment)
	}
}

// kindOf links the types that are declared here.
func (f file) kindOf(d *declared, m member, here map[string]bool) string {
	if name := f.resolve(d, m.kind); f.find(name) != nil {
		modifier, _, modified := strings.Cut(m.kind, " ")
		if modified {
			return modifier + " " + link(name, here)
		}
		return link(name, here)
	}
	return "`" + m.kind + "`"
}

// resolve returns the name of a field's type; an inner one hides an outer one.
func (f file) resolve(d *declared, kind string) string {
	if _, after, modified := strings.Cut(kind, " "); modified && !strings.HasPrefix(kind, "map<") {
		kind = after
	}
	if inner := d.name + "." + kind; f.find(inner) != nil {
		return inner
	}
	return kind
}

// link points at a heading, by the rule that renderers of Markdown share, on the
// page itself or on the one of what is shared.
func link(name string, here map[string]bool) string {
	page := messagesPage
	if here[name] {
		page = ""
	}
	return fmt.Sprintf("[%s](%s#%s)", name, page, strings.ReplaceAll(strings.ToLower(name), ".", ""))
}
