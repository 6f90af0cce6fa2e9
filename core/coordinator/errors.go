package coordinator

import (
	"context"
	"errors"

	"github.com/quorate/quorate/protocol"
)

// What an event that cannot run is refused with. Clients retry all of them; the
// first makes them look for the coordinator again.
var (
	ErrNotCoordinator = protocol.Errorf(protocol.NotCoordinator, "this broker does not lead the partition that is asked for")
	ErrLoading        = protocol.Errorf(protocol.CoordinatorLoadInProgress, "the coordinator is reading its partition")
	ErrBusy           = protocol.Errorf(protocol.CoordinatorNotAvailable, "the coordinator has too much to do")
	// ErrUncertain is given for records that may or may not be committed.
	ErrUncertain = protocol.Errorf(protocol.CoordinatorNotAvailable, "the write was not committed in time; it may be later")
)

// verdict is what an error of the partition means for the shard.
type verdict int

const (
	refused   verdict = iota // the records are certainly not in the log; nothing else is lost
	deposed                  // another broker, or this one in another epoch, leads
	uncertain                // the records may be in the log
)

// refusals are the answers of a partition that took nothing.
var refusals = map[protocol.ErrorCode]bool{
	protocol.NotEnoughReplicas:        true,
	protocol.MessageTooLarge:          true,
	protocol.RecordListTooLarge:       true,
	protocol.InvalidRecord:            true,
	protocol.InvalidTimestamp:         true,
	protocol.CorruptMessage:           true,
	protocol.PolicyViolation:          true,
	protocol.UnsupportedVersion:       true,
	protocol.UnknownTopicOrPartition:  true,
	protocol.UnknownTopicID:           true,
	protocol.LeaderNotAvailable:       true,
	protocol.ThrottlingQuotaExceeded:  true,
	protocol.TopicAuthorizationFailed: true,
}

func judgeAppend(err error) verdict {
	switch code := protocol.CodeOf(err); {
	case isDeposed(code):
		return deposed
	case refusals[code]:
		return refused
	}
	return uncertain
}

func isDeposed(code protocol.ErrorCode) bool {
	switch code {
	case protocol.NotLeaderOrFollower, protocol.FencedLeaderEpoch, protocol.UnknownLeaderEpoch:
		return true
	}
	return false
}

// isSlow reports whether records that are in the log are not committed yet, and
// may be later.
func isSlow(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) ||
		protocol.CodeOf(err) == protocol.NotEnoughReplicasAfterAppend ||
		protocol.CodeOf(err) == protocol.RequestTimedOut
}

// answerFor is what a client is told of an append that the partition refused:
// an error it retries, or that it wrote too much.
func answerFor(err error) error {
	switch protocol.CodeOf(err) {
	case protocol.MessageTooLarge, protocol.RecordListTooLarge:
		return err
	}
	return protocol.Errorf(protocol.CoordinatorNotAvailable, "the coordinator's partition takes no writes: %v", err)
}
