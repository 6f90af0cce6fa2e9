"""Errors with a code of the contract, and the exit codes of rule L8."""

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

import consensus_pb2 as pb

EXIT_OK = 0
EXIT_BUG = 70
EXIT_STORAGE = 74
EXIT_LOCKED = 75
EXIT_CONFIG = 78

# After Start or OpenGroup has failed with one of these, another attempt in this
# process would fail as well: it ends.
FATAL = {
    pb.ERROR_CODE_STORAGE_FAILED: EXIT_STORAGE,
    pb.ERROR_CODE_DATA_DIR_LOCKED: EXIT_LOCKED,
    pb.ERROR_CODE_DATA_INCOMPATIBLE: EXIT_CONFIG,
    pb.ERROR_CODE_INVALID_ARGUMENT: EXIT_CONFIG,
    pb.ERROR_CODE_UNSUPPORTED: EXIT_CONFIG,
}

# The gRPC status is for people with generic tools; the broker reads the detail.
_STATUS = {
    pb.ERROR_CODE_GROUP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    pb.ERROR_CODE_NO_SNAPSHOT: grpc.StatusCode.NOT_FOUND,
    pb.ERROR_CODE_GROUP_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    pb.ERROR_CODE_SNAPSHOT_STALE: grpc.StatusCode.ALREADY_EXISTS,
    pb.ERROR_CODE_GROUP_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    pb.ERROR_CODE_AHEAD_OF_LOG: grpc.StatusCode.OUT_OF_RANGE,
    pb.ERROR_CODE_COMPACTED: grpc.StatusCode.OUT_OF_RANGE,
    pb.ERROR_CODE_SNAPSHOT_INVALID: grpc.StatusCode.DATA_LOSS,
    pb.ERROR_CODE_STORAGE_FAILED: grpc.StatusCode.DATA_LOSS,
    pb.ERROR_CODE_UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    pb.ERROR_CODE_INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    pb.ERROR_CODE_SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    pb.ERROR_CODE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    pb.ERROR_CODE_INTERNAL: grpc.StatusCode.INTERNAL,
}


class Failure(Exception):
    """An error with a code of the contract."""

    def __init__(self, code, message, group=0):
        super().__init__(message)
        self.code, self.message, self.group = code, message, group

    def to_proto(self):
        return pb.Error(code=self.code, message=self.message, group_id=self.group)

    def abort(self, context):
        """Ends a call with this error as a detail of its status."""
        detail = any_pb2.Any()
        detail.Pack(self.to_proto())
        code = _STATUS.get(self.code, grpc.StatusCode.FAILED_PRECONDITION)
        status = status_pb2.Status(code=code.value[0], message=self.message, details=[detail])
        context.abort_with_status(rpc_status.to_status(status))
