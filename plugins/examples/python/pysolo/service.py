"""The RPCs of consensus.proto. What is not here is answered UNIMPLEMENTED by gRPC,
which the broker takes for "the capability is not offered"."""

import functools
import json
import queue
import threading

import consensus_pb2_grpc

from .data_dir import DataDir
from .errors import EXIT_OK, FATAL, Failure, pb
from .group import MAX_INFLIGHT, MAX_INFLIGHT_BYTES, MAX_PROPOSAL, Group
from .logs import log

NAME, VERSION = "python-solo", "1"
MAX_GROUPS = 8  # each holds a thread of the server while it is subscribed to
_SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
_MAX_UNREAD = 4 * MAX_INFLIGHT  # answers; a broker that keeps to the window never gets there
_PROGRESS = 0.5  # seconds between two looks at whether a stream still has a reader
_CAPABILITIES = (
    # One node cannot be divided from itself, so it has the last two.
    pb.CAPABILITY_MULTI_GROUP, pb.CAPABILITY_PRE_VOTE, pb.CAPABILITY_CHECK_QUORUM)


def unary(handle):
    """Notes that the broker lives, and gives failures their wire form."""

    @functools.wraps(handle)
    def call(self, request, context):
        self.called()
        try:
            return handle(self, request, context)
        except Failure as e:
            self.failed(e)
            e.abort(context)

    return call


def stream(handle):
    """The same for calls that answer with a stream."""

    @functools.wraps(handle)
    def call(self, request, context):
        try:
            yield from handle(self, request, context)
        except Failure as e:
            self.failed(e)
            e.abort(context)

    return call


class Service(consensus_pb2_grpc.ConsensusServicer):
    """The backend. end(code) is called once, when the process should exit."""

    def __init__(self, end):
        self._end, self.lifeline = end, None
        self._lifecycle = threading.Lock()  # Start, OpenGroup, CloseGroup, DestroyGroup, Stop
        self._state, self._detail = pb.HealthResponse.STATE_STARTING, ""
        self._dir, self._start = None, None
        self._groups, self._opened = {}, threading.Condition()
        self._proposing = threading.Lock()  # held while a stream of proposals is received

    def called(self):
        if self.lifeline:
            self.lifeline.called()

    def failed(self, failure):
        """Ends the process after a failure of the storage, whichever call met it."""
        if failure.code == pb.ERROR_CODE_STORAGE_FAILED:
            self.fail(FATAL[failure.code], failure)

    def fail(self, code, failure):
        log("error", "the backend cannot go on", error=failure.message, exit_code=code)
        self._state, self._detail = pb.HealthResponse.STATE_FAILED, failure.message
        self._end(code)

    def _group(self, group_id):
        with self._opened:
            if group_id not in self._groups:
                raise Failure(pb.ERROR_CODE_GROUP_NOT_FOUND, "group %d is not open" % group_id, group_id)
            return self._groups[group_id]

    def _open_groups(self, ids=()):
        if ids:
            return [self._group(i) for i in ids]
        with self._opened:
            return [self._groups[i] for i in sorted(self._groups)]

    # Lifecycle.

    @unary
    def Describe(self, request, context):
        return pb.DescribeResponse(
            backend=NAME, version=VERSION, contract_minor=0, capabilities=_CAPABILITIES,
            config_json_schema=json.dumps(_SCHEMA).encode(),
            limits=pb.Limits(
                max_groups=MAX_GROUPS, max_members=1, max_proposal_bytes=MAX_PROPOSAL,
                max_inflight_proposals=MAX_INFLIGHT, max_inflight_bytes=MAX_INFLIGHT_BYTES))

    @unary
    def ValidateConfig(self, request, context):
        return pb.ValidateConfigResponse(diagnostics=_problems(request.backend_config))

    @unary
    def Start(self, request, context):
        with self._lifecycle:
            try:
                self._start_once(request)
            except Failure as e:
                if e.code in FATAL:
                    self.fail(FATAL[e.code], e)
                raise
        log("info", "backend started", cluster_id=request.cluster_id, replica_id=request.replica_id)
        return pb.StartResponse()

    def _start_once(self, request):
        if self._state != pb.HealthResponse.STATE_STARTING:
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "the backend was started already")
        if not request.cluster_id or not request.replica_id or not request.data_dir:
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "cluster id, replica id and data directory must be set")
        for capability in request.required:
            if capability not in _CAPABILITIES:
                raise Failure(pb.ERROR_CODE_UNSUPPORTED, "this backend lacks capability %d" % capability)
        for problem in _problems(request.backend_config):
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "option %r: %s" % (problem.path, problem.message))
        self._dir = DataDir(request.data_dir, NAME, request.cluster_id, request.replica_id)
        self._start = request
        self._state = pb.HealthResponse.STATE_RUNNING
        self.lifeline.lease(request.host_lease_ms / 1000)

    @unary
    def Health(self, request, context):
        loop = sync = 0.0
        for g in list(self._groups.values()):
            ages = g.ages()
            loop, sync = max(loop, ages[0]), max(sync, ages[1])
        return pb.HealthResponse(
            state=self._state, max_loop_age_ms=int(loop * 1000), current_sync_ms=int(sync * 1000), detail=self._detail)

    @unary
    def Stop(self, request, context):
        self.stop()
        # The answer is sent when this method has returned, so that the end waits.
        threading.Timer(0.1, self._end, [EXIT_OK]).start()
        return pb.StopResponse()

    def stop(self):
        """Closes every group and lets the data directory go."""
        with self._lifecycle:
            if self._state != pb.HealthResponse.STATE_RUNNING:
                return
            self._state = pb.HealthResponse.STATE_STOPPING
            for g in self._open_groups():
                g.close()
            self._dir.release()

    # Groups.

    @unary
    def OpenGroup(self, request, context):
        with self._lifecycle:
            self._may_open(request.group_id, request.mode)
            try:
                g = Group(request, self._start.replica_id, self._start.broker_id, self._start.data_dir, self.fail)
            except Failure as e:
                if FATAL.get(e.code):
                    self.fail(FATAL[e.code], e)
                raise
            with self._opened:
                self._groups[g.id] = g
                self._opened.notify_all()
        return pb.OpenGroupResponse(position=g.position(), membership=g.membership())

    def _may_open(self, group_id, mode):
        if self._state != pb.HealthResponse.STATE_RUNNING:
            raise Failure(pb.ERROR_CODE_SHUTTING_DOWN, "the backend is not running", group_id)
        if group_id == 0:
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "groups begin at 1")
        if mode not in (pb.OPEN_MODE_BOOTSTRAP, pb.OPEN_MODE_JOIN, pb.OPEN_MODE_RECOVER):  # of a later version (V2)
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "the open mode is not set, or unknown", group_id)
        if group_id in self._groups:
            raise Failure(pb.ERROR_CODE_GROUP_EXISTS, "group %d is open already" % group_id, group_id)
        if len(self._groups) >= MAX_GROUPS:
            raise Failure(pb.ERROR_CODE_GROUP_LIMIT, "%d groups are open" % MAX_GROUPS, group_id)

    @unary
    def CloseGroup(self, request, context):
        self._end_group(request.group_id, Group.close)
        return pb.CloseGroupResponse()

    @unary
    def DestroyGroup(self, request, context):
        self._end_group(request.group_id, Group.destroy)
        return pb.DestroyGroupResponse()

    def _end_group(self, group_id, end):
        with self._lifecycle:
            g = self._group(group_id)
            with self._opened:
                del self._groups[group_id]
            end(g)

    @unary
    def ListGroups(self, request, context):
        return pb.ListGroupsResponse(groups=[g.position() for g in self._open_groups()])

    # Leadership.

    @unary
    def LeaderFor(self, request, context):
        return pb.LeaderForResponse(leadership=self._group(request.group_id).leadership())

    @stream
    def WatchEvents(self, request, context):
        """Sends by level (T6): what a group is now, whenever that differs from what was sent."""
        sent = {}
        while context.is_active() and self._state == pb.HealthResponse.STATE_RUNNING:
            events = []
            for g in self._open_groups():
                if request.group_ids and g.id not in request.group_ids:
                    continue
                for kind, event in (
                    ("membership", pb.Event(group_id=g.id, membership=g.membership())),
                    ("leadership", pb.Event(group_id=g.id, leadership=g.leadership())),
                    ("wanted", pb.Event(group_id=g.id, snapshot_requested=pb.SnapshotRequested(min_index=g.wanted))),
                ):
                    if sent.get((g.id, kind, g.term)) != event:
                        sent[g.id, kind, g.term] = event
                        events.append(event)
            yield from events
            if not events:
                with self._opened:
                    self._opened.wait(0.05)
        raise Failure(pb.ERROR_CODE_SHUTTING_DOWN, "shutting down")

    # The log.

    def Propose(self, requests, context):
        """Sends from here; another thread receives, so that neither waits for the other."""
        if self._state != pb.HealthResponse.STATE_RUNNING:
            Failure(pb.ERROR_CODE_UNAVAILABLE, "the backend is not running").abort(context)
        # What was sent on the stream before this one is decided first: the positions
        # below must be the last word on it (P5).
        while not self._proposing.acquire(timeout=_PROGRESS):
            if not context.is_active():
                return
        answers = queue.SimpleQueue()
        window = pb.Window(max_inflight_proposals=MAX_INFLIGHT, max_inflight_bytes=MAX_INFLIGHT_BYTES)
        for g in self._open_groups():
            window.positions.add(group_id=g.id, term=g.term, last_sequence=g.last_sequence)
        threading.Thread(target=self._receive, args=(requests, answers, context), name="proposals", daemon=True).start()
        yield pb.ProposeResponse(window=window)
        while (answer := answers.get()) is not None:
            yield answer

    def _receive(self, requests, answers, context):
        """Never stops receiving because the broker does not read (P6). The answers that
        wait for it have a bound all the same: beyond it the stream is given up."""
        try:
            for r in requests:
                self.called()
                if answers.qsize() > _MAX_UNREAD:
                    log("warn", "the answers to proposals are not read: the stream is given up")
                    context.cancel()
                    break
                self._propose(r, answers)
        except Exception as e:  # gRPC has one kind for every way in which a stream ends
            log("debug", "the stream of proposals ended", error=e)
        finally:
            self._proposing.release()
            answers.put(None)

    def _propose(self, r, answers):
        def answer(result):
            answers.put(pb.ProposeResponse(group_id=r.group_id, term=r.expected_term, sequence=r.sequence, outcome=result))

        try:
            if answers.qsize() > MAX_INFLIGHT:
                raise Failure(pb.ERROR_CODE_OVERLOADED, "too many answers are not read", r.group_id)
            self._group(r.group_id).propose(r, answer)
        except Failure as e:
            answer(pb.Result(outcome=pb.OUTCOME_REJECTED, error=e.to_proto()))

    @stream
    def Subscribe(self, request, context):
        """Reads the log when the stream has room; nothing waits in memory for a slow broker."""
        g, at, told = self._group(request.group_id), request.from_index, 0
        if at == 0:
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "indexes begin at 1", g.id)
        while context.is_active():
            try:
                batch, commit = g.read(at, request.max_batch_bytes)
                if not batch and commit == told:
                    g.await_entries(at, told, _PROGRESS)
                    continue
            except Failure as e:
                if e.code != pb.ERROR_CODE_COMPACTED or not g.snapshot:
                    raise
                yield pb.SubscribeResponse(snapshot=g.snapshot.to_proto(g.id))
                return
            yield pb.SubscribeResponse(batch=pb.EntryBatch(entries=map(_entry, batch), commit_index=commit))
            told = commit
            if batch:
                g.delivered, at = batch[-1].index, batch[-1].index + 1

    @unary
    def ReadIndex(self, request, context):
        """Every finished write is in the log of the only node there is."""
        g = self._group(request.group_id)
        return pb.ReadIndexResponse(index=g.journal.last, term=g.term)

    # Snapshots.

    @unary
    def SaveSnapshot(self, parts, context):
        first = next(parts, None)
        if first is None or first.WhichOneof("part") != "header":
            raise Failure(pb.ERROR_CODE_SNAPSHOT_INVALID, "the first part is not a header")
        return self._group(first.header.group_id).save_snapshot(first.header, parts)

    @stream
    def FetchSnapshot(self, request, context):
        g = self._group(request.group_id)
        snapshot = g.snapshot
        if snapshot is None or snapshot.index < request.min_index:
            raise Failure(pb.ERROR_CODE_NO_SNAPSHOT, "there is no snapshot that reaches %d" % request.min_index, g.id)
        yield from snapshot.parts(g.id)

    # What there is to see.

    @unary
    def GetMembership(self, request, context):
        return pb.GetMembershipResponse(membership=self._group(request.group_id).membership())

    @unary
    def GetStatus(self, request, context):
        return pb.GetStatusResponse(groups=[g.status() for g in self._open_groups(request.group_ids)])


def _entry(e):
    kind = pb.ENTRY_KIND_INTERNAL if e.internal else pb.ENTRY_KIND_DATA
    return pb.Entry(index=e.index, term=e.term, kind=kind, data=e.data)


def _problems(config):
    """Every problem of the options: there are no options."""
    if not config.strip() or config.strip() == b"null":
        return []
    try:
        options = json.loads(config)
    except ValueError as e:
        return [pb.Diagnostic(error=True, message="the options are not JSON: %s" % e)]
    if not isinstance(options, dict):
        return [pb.Diagnostic(error=True, message="the options are not a JSON object")]
    return [pb.Diagnostic(error=True, path=key, message="%s has no options" % NAME) for key in sorted(options)]
