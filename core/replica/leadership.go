package replica

import (
	"slices"

	"github.com/quorate/quorate/core/metadata"
)

// leadership is who leads a partition and how, as one image says. It is never
// changed after it was stored, so that Append and Read take no lock.
type leadership struct {
	leader         int32
	epoch          int32
	partitionEpoch int32
	replicas, isr  []int32
	mine           bool // this broker leads
	// epochStart is the log's end when this broker became the leader; 0 unless mine.
	// Nobody may join the ISR who does not have everything before it.
	epochStart int64
	settings   *settings
}

// leadershipOf returns what an image says about a partition. epochStart is left out.
func leadershipOf(self int32, part *metadata.Partition, s *settings) *leadership {
	return &leadership{
		leader:         part.Leader,
		epoch:          part.LeaderEpoch,
		partitionEpoch: part.PartitionEpoch,
		replicas:       part.Replicas,
		isr:            part.ISR,
		mine:           part.Leader == self,
		settings:       s,
	}
}

// minISR is min.insync.replicas, which cannot ask for more replicas than there are.
func (l *leadership) minISR() int { return min(l.settings.minISR, len(l.replicas)) }

// underMinISR tells if acks=all cannot be given.
func (l *leadership) underMinISR() bool { return len(l.isr) < l.minISR() }

func (l *leadership) inISR(id int32) bool { return slices.Contains(l.isr, id) }
