package configs

import (
	"strings"

	"github.com/knadh/koanf/providers/posflag"
	"github.com/spf13/pflag"
)

// setFlag sets any key: --set kafka/num.partitions=3.
const setFlag = "set"

// flagKeys are the flags that have a name of their own, by key.
var flagKeys = []struct{ name, key string }{
	{"node-id", "node/id"},
	{"rack", "node/rack"},
	{"data-dir", "node/data_dir"},
	{"backend", "consensus/backend"},
	{"admin-bind", "admin/bind"},
	{"log-level", "log/level"},
	{"log-format", "log/format"},
}

// AddFlags adds the flags that Load understands to fs. A flag that is not given sets
// nothing.
func AddFlags(fs *pflag.FlagSet) {
	for _, f := range flagKeys {
		fs.String(f.name, "", schema.find(f.key).doc+" ("+f.key+")")
	}
	fs.StringArray(setFlag, nil, "set any key, as `KEY=VALUE`; may be given often")
}

// readFlags returns what the flags set. Flags that AddFlags did not add are ignored.
func (l *loader) readFlags() layer {
	settings := make(layer)
	if l.src.Flags == nil {
		return settings
	}
	provider := posflag.ProviderWithFlag(l.src.Flags, "/", nil, func(f *pflag.Flag) (string, any) {
		if f.Changed {
			l.flag(settings, f)
		}
		return "", nil // collected in settings, with its type
	})
	if _, err := provider.Read(); err != nil {
		l.add("", Origin{Name: "flags"}, err.Error())
	}
	return settings
}

// flag checks one flag.
func (l *loader) flag(into layer, f *pflag.Flag) {
	show := func(key string) string { return key }
	for _, known := range flagKeys {
		if known.name == f.Name {
			l.assign(into, known.key, f.Value.String(), Origin{Name: "flag --" + f.Name}, show)
		}
	}
	list, ok := f.Value.(pflag.SliceValue)
	if f.Name != setFlag || !ok {
		return
	}
	for _, setting := range list.GetSlice() {
		key, text, found := strings.Cut(setting, "=")
		at := Origin{Name: "flag --set " + key}
		if !found {
			l.add(key, at, "needs KEY=VALUE")
			continue
		}
		l.assign(into, key, text, at, show)
	}
}
