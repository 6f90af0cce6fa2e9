package configs

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the names of the environment variables that are keys.
const envPrefix = "QUORATE_"

// readEnvironment returns what the environment sets.
func (l *loader) readEnvironment() layer {
	settings := make(layer)
	provider := env.Provider("/", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return l.src.Env },
		TransformFunc: func(name, text string) (string, any) {
			l.variable(settings, name, text)
			return "", nil // collected in settings, with its type
		},
	})
	if _, err := provider.Read(); err != nil {
		l.add("", Origin{Name: "environment"}, err.Error())
	}
	return settings
}

// variable checks one environment variable.
func (l *loader) variable(into layer, name, text string) {
	at := Origin{Name: "environment variable " + name}
	if !strings.Contains(name, "__") && schema.children[strings.ToLower(strings.TrimPrefix(name, envPrefix))] == nil {
		l.notAKey(name, at)
		return
	}
	key := envKey(strings.Split(strings.TrimPrefix(name, envPrefix), "__"))
	l.assign(into, key, text, at, envName)
}

// notAKey judges a variable that cannot be a key, because no section has a value of its
// own. Other programs may have their variables under our prefix; but one that is a key
// with an underscore too few is a mistake.
func (l *loader) notAKey(name string, at Origin) {
	for _, key := range schema.keys("") {
		if strings.ReplaceAll(envName(key), "__", "_") == name {
			l.add(key, at, fmt.Sprintf("unknown key %q; did you mean %q?", name, envName(key)))
			return
		}
	}
}

// assign sets a key from a source that has text only.
func (l *loader) assign(into layer, key, text string, at Origin, show func(string) string) {
	n := schema.find(key)
	switch {
	case n == nil:
		l.unknown(key, at, show)
	case n.kind == free:
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			l.complain(key, at, err.Error())
			return
		}
		into[key], l.origins[key] = v, at
	case n.kind != leaf:
		l.complain(key, at, "is a section; set the keys in it")
	case strings.HasPrefix(key, "cluster/peers/") && !nodeID(last(key)),
		strings.HasPrefix(key, "consensus/peers/") && !nodeID(last(key)):
		l.complain(key, at, "its last part is not a node id (1, 2, 3 and so on)")
	default:
		l.set(into, n, key, text, at)
	}
}

func last(key string) string { return key[strings.LastIndex(key, "/")+1:] }

// envKey returns the key that the parts of a variable's name stand for. Names that the
// operator chooses keep their case.
func envKey(parts []string) string {
	key, at := "", schema
	for _, part := range parts {
		name := strings.ToLower(part)
		switch {
		case at != nil && at.kind == dictionary && !at.numbered && at.elem.kind != free:
			name = part
		case at != nil && at.kind == section:
			name = envMatch(at, name)
		}
		key = join(key, name)
		if at != nil {
			at = at.child(name)
		}
	}
	return key
}

// envMatch returns the child whose name is the same but for dots.
func envMatch(n *node, name string) string {
	for _, candidate := range n.names {
		if strings.ReplaceAll(candidate, ".", "_") == name {
			return candidate
		}
	}
	return name
}

// envName returns the variable that stands for a key.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("/", "__", ".", "_").Replace(key))
}
