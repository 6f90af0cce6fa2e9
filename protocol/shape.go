package protocol

import (
	"reflect"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kind is how a value lies on the wire.
type kind uint8

const (
	kindFixed  kind = iota // size bytes
	kindString             // length, bytes; may be null
	kindBytes              // length, bytes; may be null
	kindArray              // count, elements; may be null
	kindStruct             // fields, tag section
	kindOption             // int8, negative for null; then a struct
)

// shape is the wire format of one type in one version of one request.
type shape struct {
	kind   kind
	size   int               // of kindFixed
	least  int               // bytes that every value has on the wire
	memory int               // bytes of the decoded value itself, without what it points to
	elem   *shape            // of kindArray and kindOption
	fields []*shape          // of kindStruct: those on the wire, in order
	tags   map[uint32]*shape // of kindStruct: the tagged fields that kmsg decodes
	tagged bool              // of kindStruct: ends with a tag section
}

// flat says that a value has the same length always, and that nothing in it allocates.
func (s *shape) flat() bool { return s.kind == kindFixed }

type shapeKey struct{ key, version int16 }

// shapes holds the shapes that were asked for: one for each key and version, at most.
var shapes = struct {
	sync.RWMutex
	known map[shapeKey]*shape
}{known: make(map[shapeKey]*shape)}

// shapeOf returns the shape of a request at the version that is set in it, which
// must be one that kmsg knows.
func shapeOf(req kmsg.Request) *shape {
	k := shapeKey{req.Key(), req.GetVersion()}
	shapes.RLock()
	s := shapes.known[k]
	shapes.RUnlock()
	if s == nil {
		s = newProber(k.key, k.version).root()
		shapes.Lock()
		shapes.known[k] = s
		shapes.Unlock()
	}
	return s
}

// prober learns the shape of a request from kmsg's own encoder: kmsg's types tell
// the fields and their order, but not which of them a version has. The prober sets
// one field after the other in an empty request and looks at what changes in the
// encoding. So the guard cannot drift away from the decoder when kmsg is upgraded.
type prober struct {
	req      kmsg.Request
	flexible bool
}

func newProber(key, version int16) *prober {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	return &prober{req: req, flexible: req.IsFlexible()}
}

func (p *prober) root() *shape {
	return p.structure(reflect.ValueOf(p.req).Elem())
}

func (p *prober) encode() []byte { return p.req.AppendTo(nil) }

// structure returns the shape of v, a struct that is part of p.req.
func (p *prober) structure(v reflect.Value) *shape {
	s := &shape{kind: kindStruct, memory: int(v.Type().Size())}
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; {
		case name == "UnknownTags":
			s.tagged = p.flexible
		case name == "Version" && v.Addr().Interface() == any(p.req):
		default:
			p.field(s, v.Field(i))
		}
	}
	s.seal()
	return s
}

// seal computes what follows from the fields.
func (s *shape) seal() {
	fixed := !s.tagged
	for _, f := range s.fields {
		s.least += f.least
		fixed = fixed && f.flat()
	}
	if s.tagged {
		s.least++
	}
	if fixed {
		s.kind, s.size = kindFixed, s.least
	}
}

// field finds out whether f is on the wire, and adds its shape to s.
func (p *prober) field(s *shape, f reflect.Value) {
	if f.Kind() == reflect.Struct {
		p.inlineStruct(s, f)
		return
	}
	old := reflect.New(f.Type()).Elem()
	old.Set(f)
	defer f.Set(old)

	base := p.encode()
	grow(f, 1)
	one := p.encode()
	if len(one) == len(base) && string(one) == string(base) {
		return // not in this version
	}
	grow(f, 2)
	two := p.encode()
	grow(f, 1) // so that what is inside can be probed

	shape := p.value(f)
	// A tagged field adds its number and size when it is no longer the default.
	plain := len(one)-len(base) == len(two)-len(one)
	if shape.kind == kindOption {
		plain = len(one)-len(base) == shape.elem.least
	}
	if plain {
		s.fields = append(s.fields, shape)
		return
	}
	s.addTag(base, one, shape)
}

// inlineStruct is field for a struct that is a part of the struct, not pointed to.
func (p *prober) inlineStruct(s *shape, f reflect.Value) {
	inner := p.structure(f)
	switch {
	case len(inner.fields) > 0:
		s.fields = append(s.fields, inner)
	case len(inner.tags) > 0: // f itself is tagged: each of its fields makes it appear
		base := p.encode()
		old := reflect.New(f.Type()).Elem()
		old.Set(f)
		grow(f.Field(0), 1)
		s.addTag(base, p.encode(), typeShape(f.Type()))
		f.Set(old)
	}
}

// addTag adds a tagged field, whose number stands behind the count of its section:
// the first byte in which the two encodings differ.
func (s *shape) addTag(without, with []byte, tag *shape) {
	at := 0
	for at < len(without) && without[at] == with[at] {
		at++
	}
	number := cursor{src: with[at+1:]}
	if s.tags == nil {
		s.tags = make(map[uint32]*shape)
	}
	s.tags[number.uvarint()] = tag
}

// value returns the shape of v, which is on the wire; a slice has an element and a
// pointer is set.
func (p *prober) value(v reflect.Value) *shape {
	if v.Kind() == reflect.Struct {
		return p.structure(v)
	}
	if inner := elemStruct(v); inner.IsValid() {
		s := p.container(v.Type())
		s.elem = p.structure(inner)
		return s
	}
	return p.container(v.Type())
}

// elemStruct returns the struct that v, a slice or pointer, holds, if it does.
func elemStruct(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		return v.Index(0)
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		return v.Elem()
	}
	return reflect.Value{}
}

func (p *prober) container(t reflect.Type) *shape {
	return plainShape(t, p.flexible)
}
