package group

// state is where a group stands.
type state int8

const (
	// empty groups have no members; they may have offsets.
	empty state = iota
	// preparing groups wait for their members to join again.
	preparing
	// completing groups wait for the leader's assignment.
	completing
	// stable groups have an assignment that is in the log.
	stable
	// dead groups are gone; only what still points to one sees this.
	dead
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

// String returns Kafka's name.
func (s state) String() string { return stateNames[s] }

// classicType is the group type that ListGroups shows and filters by (KIP-848).
const classicType = "classic"

// consumerProtocol is the protocol type of groups that consume topics.
const consumerProtocol = "consumer"
