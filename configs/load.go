package configs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Source is where a configuration comes from.
type Source struct {
	// Path is the config file; empty: none.
	Path string
	// Env is the environment, as os.Environ returns it.
	Env []string
	// Flags is a set that AddFlags was called on, parsed; or nil.
	Flags *pflag.FlagSet
	// Dev takes the defaults of Dev.
	Dev bool
}

// defaults returns what holds for keys that are set nowhere.
func (s Source) defaults() Config {
	if s.Dev {
		return devDefault()
	}
	return Default()
}

// Load reads, merges and checks a configuration, and fills in what follows from other
// keys (the peers of the backend, replication factors). Its error is *Problems.
func Load(src Source) (Config, error) {
	l := &loader{
		src:      src,
		problems: Problems{File: src.Path},
		origins:  make(map[string]Origin),
		sections: make(map[string]Origin),
	}
	cfg := l.load()
	if len(l.problems.List) > 0 {
		return Config{}, l.problems.sorted()
	}
	return cfg, nil
}

// load returns the merged configuration. What is wrong is in l.problems.
func (l *loader) load() Config {
	k := koanf.New("/")
	l.merge(k, flatten(l.src.defaults()).layer())
	if l.src.Path != "" {
		settings, lists := l.readFile()
		for _, key := range lists {
			k.Delete(key)
		}
		l.merge(k, settings)
	}
	l.merge(k, l.readEnvironment())
	l.merge(k, l.readFlags())

	cfg := l.unmarshal(k)
	cfg.Origins = l.origins
	l.advertised = map[string]bool{
		"cluster/advertise": cfg.Cluster.Advertise != "", "consensus/peer/advertise": cfg.Consensus.Peer.Advertise != "",
	}
	cfg.resolve()
	l.check(&cfg)
	return cfg
}

// merge lays settings over what k has.
func (l *loader) merge(k *koanf.Koanf, settings layer) {
	if err := k.Load(confmap.Provider(settings, "/"), nil); err != nil {
		l.add("", Origin{}, "cannot be merged: "+err.Error())
	}
}

// unmarshal returns the Config that k holds. All values have been checked.
func (l *loader) unmarshal(k *koanf.Koanf) Config {
	raw := k.Raw()
	raw["listeners"] = inOrder(raw["listeners"])
	var cfg Config
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: &cfg, TagName: "koanf", WeaklyTypedInput: true})
	if err == nil {
		err = decoder.Decode(raw)
	}
	if err != nil {
		l.add("", Origin{}, fmt.Sprintf("cannot be decoded: %v", err))
	}
	return cfg
}

// inOrder turns {"0": a, "1": b} into [a, b]. Lists are merged item by item and
// therefore kept by number.
func inOrder(items any) []any {
	byNumber, ok := items.(map[string]any)
	if !ok {
		return nil
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // the schema lets nothing else through
		return n
	}
	list := make([]any, 0, len(byNumber))
	for _, name := range slices.SortedFunc(maps.Keys(byNumber), func(a, b string) int { return number(a) - number(b) }) {
		list = append(list, byNumber[name])
	}
	return list
}
