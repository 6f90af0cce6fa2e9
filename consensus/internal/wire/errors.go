package wire

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// sentinels pairs every error of the contract with its code and with the gRPC
// status that carries it. Of two that match, the first counts.
var sentinels = []struct {
	err    error
	code   consensuspb.ErrorCode
	status codes.Code
}{
	{consensus.ErrNotLeader, consensuspb.ErrorCode_ERROR_CODE_NOT_LEADER, codes.FailedPrecondition},
	{consensus.ErrTermMismatch, consensuspb.ErrorCode_ERROR_CODE_TERM_MISMATCH, codes.FailedPrecondition},
	{consensus.ErrLeaderNotReady, consensuspb.ErrorCode_ERROR_CODE_LEADER_NOT_READY, codes.FailedPrecondition},
	{consensus.ErrOutOfSequence, consensuspb.ErrorCode_ERROR_CODE_OUT_OF_SEQUENCE, codes.FailedPrecondition},
	{consensus.ErrOverloaded, consensuspb.ErrorCode_ERROR_CODE_OVERLOADED, codes.ResourceExhausted},
	{consensus.ErrTooLarge, consensuspb.ErrorCode_ERROR_CODE_TOO_LARGE, codes.InvalidArgument},
	{consensus.ErrTransferPending, consensuspb.ErrorCode_ERROR_CODE_TRANSFER_PENDING, codes.FailedPrecondition},
	{consensus.ErrLeadershipLost, consensuspb.ErrorCode_ERROR_CODE_LEADERSHIP_LOST, codes.Aborted},
	{consensus.ErrTimeout, consensuspb.ErrorCode_ERROR_CODE_TIMEOUT, codes.DeadlineExceeded},
	{consensus.ErrGroupNotFound, consensuspb.ErrorCode_ERROR_CODE_GROUP_NOT_FOUND, codes.NotFound},
	{consensus.ErrGroupExists, consensuspb.ErrorCode_ERROR_CODE_GROUP_EXISTS, codes.AlreadyExists},
	{consensus.ErrGroupLimit, consensuspb.ErrorCode_ERROR_CODE_GROUP_LIMIT, codes.ResourceExhausted},
	{consensus.ErrAheadOfLog, consensuspb.ErrorCode_ERROR_CODE_AHEAD_OF_LOG, codes.OutOfRange},
	{consensus.ErrCompacted, consensuspb.ErrorCode_ERROR_CODE_COMPACTED, codes.OutOfRange},
	{consensus.ErrNoSnapshot, consensuspb.ErrorCode_ERROR_CODE_NO_SNAPSHOT, codes.NotFound},
	{consensus.ErrSnapshotInvalid, consensuspb.ErrorCode_ERROR_CODE_SNAPSHOT_INVALID, codes.DataLoss},
	{consensus.ErrSnapshotStale, consensuspb.ErrorCode_ERROR_CODE_SNAPSHOT_STALE, codes.AlreadyExists},
	{consensus.ErrConfigPending, consensuspb.ErrorCode_ERROR_CODE_CONFIG_CHANGE_PENDING, codes.Aborted},
	{consensus.ErrStaleConfig, consensuspb.ErrorCode_ERROR_CODE_STALE_CONFIG, codes.Aborted},
	{consensus.ErrNoQuorum, consensuspb.ErrorCode_ERROR_CODE_NO_QUORUM, codes.Unavailable},
	{consensus.ErrUnsupported, consensuspb.ErrorCode_ERROR_CODE_UNSUPPORTED, codes.Unimplemented},
	{consensus.ErrStorageFailed, consensuspb.ErrorCode_ERROR_CODE_STORAGE_FAILED, codes.DataLoss},
	{consensus.ErrDataDirLocked, consensuspb.ErrorCode_ERROR_CODE_DATA_DIR_LOCKED, codes.FailedPrecondition},
	{consensus.ErrDataIncompatible, consensuspb.ErrorCode_ERROR_CODE_DATA_INCOMPATIBLE, codes.FailedPrecondition},
	{consensus.ErrInvalidArgument, consensuspb.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, codes.InvalidArgument},
	{consensus.ErrShuttingDown, consensuspb.ErrorCode_ERROR_CODE_SHUTTING_DOWN, codes.Unavailable},
	{consensus.ErrUnavailable, consensuspb.ErrorCode_ERROR_CODE_UNAVAILABLE, codes.Unavailable},
	{context.DeadlineExceeded, consensuspb.ErrorCode_ERROR_CODE_TIMEOUT, codes.DeadlineExceeded},
}

// retryAfter is what a host is told to wait after OVERLOADED.
const retryAfter = 10 * time.Millisecond

// remoteError is an error from the other side: its words, and the sentinel that
// errors.Is finds.
type remoteError struct {
	message  string
	sentinel error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.sentinel }

// ErrorToProto translates err; nil gives nil. What is not an error of the
// contract becomes INTERNAL with err's text.
func ErrorToProto(err error) *consensuspb.Error {
	if err == nil {
		return nil
	}
	e := &consensuspb.Error{Code: consensuspb.ErrorCode_ERROR_CODE_INTERNAL, Message: err.Error()}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			e.Code = s.code
			break
		}
	}
	if e.GetCode() == consensuspb.ErrorCode_ERROR_CODE_OVERLOADED {
		e.RetryAfterMs = uint32(retryAfter.Milliseconds())
	}
	return e
}

// ErrorFromProto is the reverse of ErrorToProto. An unknown code gives an error
// that matches no sentinel.
func ErrorFromProto(e *consensuspb.Error) error {
	if e == nil {
		return nil
	}
	for _, s := range sentinels {
		if s.code == e.GetCode() {
			return &remoteError{message: orElse(e.GetMessage(), s.err.Error()), sentinel: s.err}
		}
	}
	return errors.New(orElse(e.GetMessage(), e.GetCode().String()))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// ToStatus makes err the error of a gRPC call, with the contract's error as a
// detail. nil gives nil; a status stays as it is.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			code = s.status
			break
		}
	}
	st, detailErr := status.New(code, err.Error()).WithDetails(ErrorToProto(err))
	if detailErr != nil {
		return status.Error(code, err.Error())
	}
	return st.Err()
}

// FromStatus is the reverse of ToStatus, for the error of a gRPC call. Errors
// that gRPC itself made become ErrUnavailable, ErrTimeout or ErrUnsupported
// where that is what they mean.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range st.Details() {
		if e, ok := d.(*consensuspb.Error); ok {
			return ErrorFromProto(e)
		}
	}
	switch st.Code() {
	case codes.Unavailable, codes.Canceled:
		return &remoteError{message: st.Message(), sentinel: consensus.ErrUnavailable}
	case codes.DeadlineExceeded:
		return &remoteError{message: st.Message(), sentinel: consensus.ErrTimeout}
	case codes.Unimplemented:
		return &remoteError{message: st.Message(), sentinel: consensus.ErrUnsupported}
	default:
		return errors.New(st.Message())
	}
}
