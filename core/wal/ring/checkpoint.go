package ring

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/quorate/quorate/core/wal/disk"
)

// checkpointName is the file that says where a replay begins.
const checkpointName = "checkpoint"

// checkpoint is the content of that file.
type checkpoint struct {
	sequence uint64 // of the first file that a replay needs
	lsn      uint64 // where it begins
	durable  uint64 // everything before this LSN was durable when it was written
	state    []byte // the caller's
}

const (
	checkpointMagic  = "QWCP"
	checkpointHeader = 4 + 4 + 8 + 8 + 8 + 4 // magic, version, sequence, LSN, durable LSN, length of the state
)

func (c checkpoint) encode() []byte {
	b := make([]byte, 0, checkpointHeader+len(c.state)+4)
	b = append(b, checkpointMagic...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint64(b, c.sequence)
	b = binary.BigEndian.AppendUint64(b, c.lsn)
	b = binary.BigEndian.AppendUint64(b, c.durable)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.state)))
	b = append(b, c.state...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeCheckpoint(b []byte) (c checkpoint, ok bool) {
	if len(b) < checkpointHeader+4 || string(b[:4]) != checkpointMagic || binary.BigEndian.Uint32(b[4:]) != version {
		return c, false
	}
	body := len(b) - 4
	if binary.BigEndian.Uint32(b[body:]) != crc32.Checksum(b[:body], castagnoli) ||
		uint64(binary.BigEndian.Uint32(b[32:])) != uint64(body-checkpointHeader) {
		return c, false
	}
	c.sequence = binary.BigEndian.Uint64(b[8:])
	c.lsn = binary.BigEndian.Uint64(b[16:])
	c.durable = binary.BigEndian.Uint64(b[24:])
	c.state = b[checkpointHeader:body]
	return c, possible(c.sequence, c.lsn)
}

// readCheckpoint reads dir's; ok is false if there is none.
func readCheckpoint(fsys disk.FS, dir string) (c checkpoint, ok bool, err error) {
	name := filepath.Join(dir, checkpointName)
	b, err := disk.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	if c, ok = decodeCheckpoint(b); !ok {
		return c, false, &DamageError{File: name, Reason: "it is no checkpoint of this version, and it is only ever replaced as a whole"}
	}
	return c, true, nil
}
