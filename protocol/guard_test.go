package protocol

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// eachRequest calls f for every request that kmsg knows, in all its versions.
func eachRequest(f func(req kmsg.Request)) {
	for key := range int16(kmsg.MaxKey + 1) {
		probe := kmsg.RequestForKey(key)
		if probe == nil {
			continue
		}
		for version := range probe.MaxVersion() + 1 {
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			f(req)
		}
	}
}

// populate fills v with random values, fewer of them the deeper it is.
func populate(rng *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" {
				populate(rng, v.Field(i), depth)
			}
		}
		setTags(rng, v)
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			populate(rng, v.Elem(), depth)
		}
	case reflect.Slice:
		n := rng.IntN(5 - depth)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			populate(rng, v.Index(i), min(depth+1, 3))
		}
	case reflect.Array:
		for i := range v.Len() {
			populate(rng, v.Index(i), depth)
		}
	case reflect.String:
		v.SetString("abcdefghijklmnop"[:rng.IntN(16)])
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(rng.Float64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64() >> (64 - v.Type().Bits()))
	default:
		v.SetInt(int64(rng.Uint64()) >> (64 - v.Type().Bits()))
	}
}

func setTags(rng *rand.Rand, v reflect.Value) {
	f := v.FieldByName("UnknownTags")
	if !f.IsValid() || rng.IntN(3) > 0 {
		return
	}
	tags := f.Addr().Interface().(*kmsg.Tags)
	for i := range uint32(rng.IntN(3) + 1) {
		tags.Set(100+i, make([]byte, rng.IntN(20)))
	}
}

// The guard follows kmsg's encoding of every request in every version to its last
// byte, so no honest request is refused and no array escapes it.
func TestGuardFollowsEveryRequest(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)) // repeatable on purpose
	eachRequest(func(req kmsg.Request) {
		version := req.GetVersion()
		for range 20 {
			populate(rng, reflect.ValueOf(req).Elem(), 0)
			req.SetVersion(version)
			body := req.AppendTo(nil)
			g := guard{cursor: cursor{src: body}, flexible: req.IsFlexible(), limit: 1 << 30}
			g.walk(shapeOf(req))
			if g.bad || len(g.src) != 0 {
				t.Fatalf("%s v%d: bad=%v, %d of %d bytes left over", kmsg.NameForKey(req.Key()), version, g.bad, len(g.src), len(body))
			}
			if len(body) == 0 {
				continue
			}
			cut := rng.IntN(len(body))
			if _, err := measure(shapeOf(req), body[:cut], req.IsFlexible(), 1<<30); err == nil {
				t.Fatalf("%s v%d: cut at %d of %d, and nothing is missing", kmsg.NameForKey(req.Key()), version, cut, len(body))
			}
		}
	})
}

// allocated returns the bytes that f allocates: the least of several counts,
// because the runtime counts the whole process and allocates for itself now and
// then.
func allocated(f func()) int {
	least := math.MaxInt
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, int(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}

// What kmsg allocates stays within what the guard measured.
func TestGuardMeasuresWhatIsAllocated(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4)) // repeatable on purpose
	eachRequest(func(req kmsg.Request) {
		version := req.GetVersion()
		populate(rng, reflect.ValueOf(req).Elem(), 0)
		req.SetVersion(version)
		body := req.AppendTo(nil)
		measured, err := measure(shapeOf(req), body, req.IsFlexible(), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		got := allocated(func() {
			fresh := kmsg.RequestForKey(req.Key())
			fresh.SetVersion(version)
			_ = fresh.ReadFrom(body)
		})
		if got > 2*measured+1024 {
			t.Errorf("%s v%d: allocated %d, measured %d, body %d", kmsg.NameForKey(req.Key()), version, got, measured, len(body))
		}
	})
}

func uvarint(n uint32) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func TestParseRequestRefusesLies(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	padded := func(b ...byte) []byte { return append(b, make([]byte, size)...) }
	tests := []struct {
		name         string
		key, version int16
		body         []byte
	}{
		{"metadata: a topic for each byte", 3, 0, padded(0, 15, 0xff, 0)},
		{"metadata: a compact topic for each byte", 3, 12, padded(uvarint(size)...)},
		{"produce: a topic for each byte", 0, 9, padded(append([]byte{0, 0, 1, 0, 0, 0, 9}, uvarint(size)...)...)},
		{"api versions: four billion tags", 18, 3, []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0}},
		{"metadata: half a million unknown tags", 3, 12, func() []byte {
			b := append([]byte{0, 1, 0}, uvarint(size/3)...)
			for i := range uint32(size / 3) {
				b = append(append(b, uvarint(1000+i)...), 0)
			}
			return b
		}()},
		{"metadata: count beyond the end", 3, 0, []byte{0x7f, 0xff, 0xff, 0xff}},
		{"fetch: tags in a tagged struct", 1, 15, append(
			[]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1},
			1, 1, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f)},
		{"string beyond the end", 3, 0, []byte{0, 0, 0, 1, 0x7f, 0xff, 'x'}},
		{"empty body", 3, 4, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseRequest(RequestHeader{Key: tt.key, Version: tt.version}, tt.body)
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
		})
	}
}

// The densest honest request that each key can make fits the weight.
func TestWeightHasRoom(t *testing.T) {
	t.Parallel()
	worst, which := 0.0, ""
	var visit func(name string, s *shape)
	visit = func(name string, s *shape) {
		if s.kind == kindArray || s.kind == kindOption {
			if s.kind == kindArray {
				if d := float64(s.elem.memory+32) / float64(s.elem.least+8); d > worst {
					worst, which = d, name
				}
			}
			visit(name+"[]", s.elem)
		}
		for i, f := range s.fields {
			visit(fmt.Sprintf("%s.%d", name, i), f)
		}
	}
	eachRequest(func(req kmsg.Request) {
		visit(fmt.Sprintf("%s v%d", kmsg.NameForKey(req.Key()), req.GetVersion()), shapeOf(req))
	})
	if worst > requestWeight {
		t.Errorf("%s: %.1f bytes of memory for each byte on the wire, want less than %d", which, worst, requestWeight)
	}
	t.Logf("densest: %s, %.1f", which, worst)
}
