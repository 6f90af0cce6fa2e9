package protocol

import (
	"fmt"
	"reflect"
)

// plainShape returns the shape of a Go type as kmsg maps it to the wire. The elem
// of a container of structs is left to the caller.
func plainShape(t reflect.Type, flexible bool) *shape {
	s := &shape{memory: int(t.Size())}
	switch k := t.Kind(); {
	case k == reflect.String, k == reflect.Pointer && t.Elem().Kind() == reflect.String:
		s.kind, s.least = kindString, wide(flexible, 2)
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		s.kind, s.least = kindBytes, wide(flexible, 4)
	case k == reflect.Slice:
		s.kind, s.least = kindArray, wide(flexible, 4)
		if t.Elem().Kind() != reflect.Struct {
			s.elem = plainShape(t.Elem(), flexible)
		}
	case k == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		s.kind, s.least = kindOption, 1
	case k == reflect.Array && t.Elem().Kind() == reflect.Uint8,
		k == reflect.Bool, k >= reflect.Int8 && k <= reflect.Int64,
		k >= reflect.Uint8 && k <= reflect.Uint64, k == reflect.Float64:
		s.kind, s.size, s.least = kindFixed, int(t.Size()), int(t.Size())
	default:
		panic(fmt.Sprintf("protocol: kmsg has a field of type %s, which no wire format is known for", t))
	}
	return s
}

// wide is the size of a length: a varint, one byte at least, or fixed.
func wide(flexible bool, fixed int) int {
	if flexible {
		return 1
	}
	return fixed
}

// typeShape returns the shape of a struct all of whose fields are on the wire. It
// serves for tagged structs, which exist in flexible versions only.
func typeShape(t reflect.Type) *shape {
	s := &shape{kind: kindStruct, memory: int(t.Size())}
	for f := range t.Fields() {
		switch {
		case f.Name == "UnknownTags":
			s.tagged = true
		case f.Type.Kind() == reflect.Struct:
			s.fields = append(s.fields, typeShape(f.Type))
		default:
			inner := plainShape(f.Type, true)
			if inner.elem == nil && (inner.kind == kindArray || inner.kind == kindOption) {
				inner.elem = typeShape(f.Type.Elem())
			}
			s.fields = append(s.fields, inner)
		}
	}
	s.seal()
	return s
}

// grow sets v to a value that is not its default and has n units of length: n
// characters, n elements, or another number.
func grow(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("xx"[:n])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() == reflect.String {
			grow(v.Elem(), n)
		} else {
			setDefault(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			setDefault(v.Index(i))
		}
	case reflect.Array:
		v.Index(0).SetUint(uint64(n))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	default:
		panic(fmt.Sprintf("protocol: cannot set a %s", v.Type()))
	}
}

// setDefault gives v the defaults of kmsg, if it has any.
func setDefault(v reflect.Value) {
	if d, ok := reflect.TypeAssert[interface{ Default() }](v.Addr()); ok {
		d.Default()
	}
}
