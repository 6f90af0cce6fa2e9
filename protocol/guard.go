package protocol

import "errors"

// mapMemory and tagMemory are what an unknown tag costs once it is decoded: kmsg
// puts it into a map, which begins with a table of eight slots.
const (
	mapMemory = 384
	tagMemory = 96
)

var (
	errTruncated = errors.New("a length or count in the body points beyond its end")
	errTooDense  = errors.New("the body would take too much memory once decoded")
)

// guard walks a body as kmsg's decoder will, without allocating, and adds up the
// memory that the decoder will ask for.
type guard struct {
	cursor
	flexible bool
	memory   int // so far
	limit    int
}

// measure returns the bytes that decoding body allocates, to within the rounding of
// the allocator, or why body must not be decoded: because it lies about a length or
// because the sum is above limit. Bytes that the decoded request shares with body
// are not counted.
func measure(s *shape, body []byte, flexible bool, limit int) (int, error) {
	g := guard{cursor: cursor{src: body}, flexible: flexible, limit: limit}
	g.charge(s.memory)
	g.walk(s)
	switch {
	case g.memory > g.limit:
		return g.memory, errTooDense
	case g.bad:
		return g.memory, errTruncated
	}
	return g.memory, nil
}

// charge counts n bytes; above the limit the walk ends.
func (g *guard) charge(n int) {
	g.memory += n
	if g.memory > g.limit {
		g.fail()
	}
}

func (g *guard) walk(s *shape) {
	switch s.kind {
	case kindFixed:
		g.skip(s.size)
	case kindString:
		n := g.stringLength(g.flexible)
		g.skip(max(n, 0))
		g.charge(max(n, 0) + 16) // the header counts where a pointer leads to it
	case kindBytes:
		g.skip(max(g.length(g.flexible), 0))
	case kindArray:
		g.array(s.elem)
	case kindStruct:
		for _, f := range s.fields {
			g.walk(f)
			if g.bad {
				return
			}
		}
		if s.tagged {
			g.tags(s)
		}
	case kindOption:
		if g.int8() >= 0 && !g.bad {
			g.charge(s.elem.memory)
			g.walk(s.elem)
		}
	}
}

// array checks that as many elements as announced can be there, before anything is
// decoded for them.
func (g *guard) array(elem *shape) {
	n := g.length(g.flexible)
	if n <= 0 || g.bad {
		return
	}
	if n > len(g.src)/max(elem.least, 1) {
		g.fail()
		return
	}
	g.charge(n * elem.memory)
	if elem.flat() {
		g.skip(n * elem.size)
		return
	}
	for range n {
		g.walk(elem)
		if g.bad {
			return
		}
	}
}

// tags walks a tag section: into the fields that the decoder knows, over the others.
func (g *guard) tags(s *shape) {
	unknown := 0
	for range g.tagCount() {
		known := s.tags[g.uvarint()]
		span := g.take(int(g.uvarint()))
		if g.bad {
			return
		}
		if known == nil {
			g.charge(tagMemory)
			unknown++
			continue
		}
		rest := g.src
		g.src = span
		g.charge(known.memory)
		g.walk(known)
		if g.bad {
			return
		}
		g.src = rest
	}
	if unknown > 0 {
		g.charge(mapMemory)
	}
}
