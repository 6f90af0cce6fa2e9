package consensustest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/quorate/quorate/consensus"
)

// machine is the state that a node builds from the log: a digest of every entry
// and the payloads that the gate admitted. Its JSON is its snapshot.
type machine struct {
	Index, Term uint64
	Chain       [32]byte
	Gate        consensus.Gate
	Applied     map[string]uint64 // payload to index
}

func (m *machine) apply(e consensus.Entry) error {
	if e.Index != m.Index+1 || e.Term < m.Term {
		return fmt.Errorf("entry %d of term %d after entry %d of term %d", e.Index, e.Term, m.Index, m.Term)
	}
	m.Index, m.Term = e.Index, e.Term
	internal := byte(0)
	if e.Internal {
		internal = 1
	}
	h := sha256.New()
	_, _ = h.Write(m.Chain[:]) // a hash does not fail
	_, _ = h.Write(append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.Index), e.Term), internal))
	_, _ = h.Write(e.Data)
	h.Sum(m.Chain[:0])
	payload, ok, err := m.Gate.Admit(e)
	if ok {
		m.Applied[string(payload)] = e.Index
	}
	return err
}

func (m *machine) clone() *machine {
	c := *m
	c.Applied = make(map[string]uint64, len(m.Applied))
	maps.Copy(c.Applied, m.Applied)
	return &c
}

func (m *machine) meta() consensus.SnapshotMeta {
	return consensus.SnapshotMeta{Index: m.Index, Term: m.Term, Format: "consensustest"}
}

func (m *machine) bytes() ([]byte, error) { return json.Marshal(m) }

// readMachine reads a snapshot that a backend gave back.
func readMachine(meta consensus.SnapshotMeta, r io.ReadCloser) (*machine, error) {
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	m := &machine{}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(m); err != nil {
		return nil, err
	}
	if meta.Index != m.Index || meta.Term != m.Term || meta.Format != "consensustest" || meta.Size != uint64(len(data)) {
		return nil, fmt.Errorf("its meta is %+v, its content of %d bytes was made at %d in term %d", meta, len(data), m.Index, m.Term)
	}
	return m, nil
}
