package consensus

import (
	"encoding/binary"
	"fmt"
)

// Envelope is what a proposal's data holds: the broker's own name for it, and
// what it says. See the package comment for why it exists.
type Envelope struct {
	ExpectedTerm uint64
	Sequence     uint64
	Payload      []byte
}

// envelopeVersion is the first byte of every envelope.
const envelopeVersion = 1

const envelopeHeader = 1 + 8 + 8

// Append appends the envelope's bytes to dst: version (1), expected term (8),
// sequence (8), big endian, payload.
func (e Envelope) Append(dst []byte) []byte {
	dst = append(dst, envelopeVersion)
	dst = binary.BigEndian.AppendUint64(dst, e.ExpectedTerm)
	dst = binary.BigEndian.AppendUint64(dst, e.Sequence)
	return append(dst, e.Payload...)
}

// ParseEnvelope reads what Append wrote. Payload aliases data.
func ParseEnvelope(data []byte) (Envelope, error) {
	if len(data) < envelopeHeader {
		return Envelope{}, fmt.Errorf("parse envelope: %d bytes, want at least %d", len(data), envelopeHeader)
	}
	if data[0] != envelopeVersion {
		return Envelope{}, fmt.Errorf("parse envelope: version %d, want %d", data[0], envelopeVersion)
	}
	return Envelope{
		ExpectedTerm: binary.BigEndian.Uint64(data[1:]),
		Sequence:     binary.BigEndian.Uint64(data[9:]),
		Payload:      data[envelopeHeader:],
	}, nil
}

// Gate decides which delivered entries count. It is part of the replicated
// state: it goes into every snapshot, and replicas that differ in it diverge.
type Gate struct {
	Term     uint64 // the highest term seen in any entry, internal ones included
	Sequence uint64 // the last one admitted in Term; 0 = none
}

// Admit takes the next entry in log order and returns its payload if it counts.
// Internal and void entries return ok false and no error; both may raise Term.
// An error means that the entry was not written by a broker: the log is corrupt.
func (g *Gate) Admit(e Entry) (payload []byte, ok bool, err error) {
	if e.Term < g.Term {
		return nil, false, fmt.Errorf("entry %d has term %d after term %d was seen", e.Index, e.Term, g.Term)
	}
	if e.Term > g.Term {
		*g = Gate{Term: e.Term}
	}
	if e.Internal {
		return nil, false, nil
	}
	env, err := ParseEnvelope(e.Data)
	if err != nil {
		return nil, false, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if env.ExpectedTerm != e.Term || env.Sequence != g.Sequence+1 {
		return nil, false, nil
	}
	g.Sequence = env.Sequence
	return env.Payload, true, nil
}

// Resolve tells what became of the proposal (term, sequence), given that every
// entry up to the gate's position has passed: Committed, Rejected (never will
// be) or Unknown (watch on).
func (g Gate) Resolve(term, sequence uint64) Outcome {
	switch {
	case g.Term == term && g.Sequence >= sequence:
		return Committed
	case g.Term > term:
		// It may have been admitted before the term ended; the caller that
		// watched every entry has been told then.
		return Rejected
	default:
		return Unknown
	}
}
