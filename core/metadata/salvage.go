package metadata

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/consensus"
)

// Salvage returns the image that a replica's remains give: its newest snapshot and
// every entry behind it, whether it is known to be committed or not. What the lost
// majority had acknowledged and this replica has is in it, which leaving out the
// undecided entries would not guarantee.
func Salvage(r consensus.Remains) (*Image, error) {
	img, err := salvageSnapshot(r)
	if err != nil {
		return nil, fmt.Errorf("salvage metadata: %w", err)
	}
	d, gate, index := NewDelta(img), img.Gate, img.Index
	for {
		entries, err := r.Read(index + 1)
		if err != nil {
			return nil, fmt.Errorf("salvage metadata: read entry %d: %w", index+1, err)
		}
		if len(entries) == 0 {
			return d.Image(index, gate.Term, gate), nil
		}
		for _, e := range entries {
			if e.Index != index+1 {
				return nil, fmt.Errorf("salvage metadata: entry %d follows entry %d", e.Index, index)
			}
			index = e.Index
			if err := d.applyEntry(&gate, e); err != nil {
				return nil, fmt.Errorf("salvage metadata: entry %d of term %d: %w", e.Index, e.Term, err)
			}
		}
	}
}

func salvageSnapshot(r consensus.Remains) (*Image, error) {
	meta, content, err := r.Snapshot()
	if errors.Is(err, consensus.ErrNoSnapshot) {
		return Empty(), nil
	}
	if err != nil {
		return nil, err
	}
	img, err := readSnapshotAs(meta, content)
	return img, errors.Join(err, content.Close())
}
