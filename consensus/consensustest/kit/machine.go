package kit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/quorate/quorate/consensus"
)

// snapshotFormat is the kit's name for the content of its snapshots.
const snapshotFormat = "quorate-kit"

// machine is the state that a mini-host builds from the log: a digest of every
// entry, the commands that the gate admitted, and registers. Its JSON is its
// snapshot. A command is any payload; those below do something besides:
//
//	set KEY VALUE ID        the register KEY becomes VALUE
//	cas KEY OLD NEW ID      it becomes NEW if it is OLD
type machine struct {
	Index, Term uint64
	Chain       [32]byte
	Gate        consensus.Gate
	Applied     map[string]uint64 // command to index
	Registers   map[string]string
	Done        map[string]bool // of each cas, by its id: whether it took place
}

func newMachine() *machine {
	return &machine{Applied: map[string]uint64{}, Registers: map[string]string{}, Done: map[string]bool{}}
}

// apply takes the next entry. An error means that no host could go on.
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
		m.execute(string(payload), e.Index)
	}
	return err
}

func (m *machine) execute(command string, index uint64) {
	m.Applied[nameOf(command)] = index
	if len(command) > 1024 {
		return
	}
	switch f := strings.Fields(command); {
	case len(f) == 4 && f[0] == "set":
		m.Registers[f[1]] = f[2]
	case len(f) == 5 && f[0] == "cas":
		swapped := m.Registers[f[1]] == f[2]
		if swapped {
			m.Registers[f[1]] = f[3]
		}
		m.Done[f[4]] = swapped
	}
}

// nameOf is what a command is known by: itself, or its digest if it is long.
func nameOf(command string) string {
	if len(command) <= 64 {
		return command
	}
	return fmt.Sprintf("%d bytes, %x", len(command), sha256.Sum256([]byte(command)))
}

func (m *machine) clone() *machine {
	c := *m
	c.Applied, c.Registers, c.Done = maps.Clone(m.Applied), maps.Clone(m.Registers), maps.Clone(m.Done)
	return &c
}

func (m *machine) meta() consensus.SnapshotMeta {
	return consensus.SnapshotMeta{Index: m.Index, Term: m.Term, Format: snapshotFormat}
}

// bytes is the machine's snapshot, of at least size bytes.
func (m *machine) bytes(size int) ([]byte, error) {
	data, err := json.Marshal(m)
	if n := size - len(data); n > 0 {
		data = append(data, bytes.Repeat([]byte(" "), n)...)
	}
	return data, err
}

// readMachine reads a snapshot that a backend gave back.
func readMachine(meta consensus.SnapshotMeta, r io.ReadCloser) (*machine, error) {
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	m := newMachine()
	if err := json.Unmarshal(data, m); err != nil {
		return nil, err
	}
	if meta.Index != m.Index || meta.Term != m.Term || meta.Format != snapshotFormat || meta.Size != uint64(len(data)) {
		return nil, fmt.Errorf("its meta is %+v, its content of %d bytes was made at %d in term %d", meta, len(data), m.Index, m.Term)
	}
	return m, nil
}
