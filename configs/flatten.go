package configs

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is a leaf of a Config.
type setting struct {
	key   string
	value any
	doc   string
}

type settings []setting

// flatten returns every leaf of cfg, in the order of the struct.
func flatten(cfg Config) settings {
	var all settings
	all.add("", reflect.ValueOf(cfg), "")
	return all
}

func (s *settings) add(key string, v reflect.Value, doc string) {
	switch {
	case v.Kind() == reflect.Struct:
		for f := range fields(v.Type()) {
			s.add(join(key, f.Tag.Get("koanf")), v.FieldByIndex(f.Index), f.Tag.Get("doc"))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			s.add(join(key, strconv.Itoa(i)), v.Index(i), doc)
		}
	case v.Kind() == reflect.Map:
		for _, name := range sortedKeys(v) {
			s.add(join(key, fmt.Sprint(name)), v.MapIndex(name), doc)
		}
	default:
		*s = append(*s, setting{key, v.Interface(), doc})
	}
}

// sortedKeys returns the keys of a map, numbers by their size.
func sortedKeys(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int {
		if a.CanInt() {
			return cmp.Compare(a.Int(), b.Int())
		}
		return strings.Compare(a.String(), b.String())
	})
}

func (s settings) layer() layer {
	l := make(layer, len(s))
	for _, x := range s {
		l[x.key] = x.value
	}
	return l
}

// text returns a value as it would stand in the file.
func text(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return shortDuration(v)
	case string:
		if v == "" || strings.ContainsAny(v, ":#{}[],&*!|>'\"%@` ") && !plainAddress(v) {
			return strconv.Quote(v)
		}
		return v
	case []string:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = text(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			items = append(items, name+": "+text(v[name]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}

// plainAddress says whether an address can stand in YAML without quotes.
func plainAddress(v string) bool {
	return address(v, true) == nil && !strings.ContainsAny(v, "[] ")
}

// shortDuration is 10s and not 10s, 1m and not 1m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
