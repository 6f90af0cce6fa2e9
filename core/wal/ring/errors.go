package ring

import "fmt"

// DamageError says that a frame which had been durable cannot be read. Nothing was
// changed.
type DamageError struct {
	File   string
	Offset int64  // position of the damage in File, in bytes
	Reason string // what is wrong there, and how it is known that it had been right
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("commit log %s is damaged at byte %d: %s; what was acknowledged behind that place may be lost: if other replicas of this node's partitions are alive, start with an empty data directory to have them copied from those, else start once with --unsafe-truncate to go on without it", e.File, e.Offset, e.Reason)
}
