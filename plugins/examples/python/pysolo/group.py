"""One replicated log, replicated on one node: it always leads, in a new term per start."""

import os
import shutil
import threading
import time

from . import journal as journals
from . import snapshots
from .errors import EXIT_STORAGE, Failure, pb
from .files import storage_failed, sync_dir
from .journal import Entry

MAX_PROPOSAL = 4 << 20
MAX_INFLIGHT = 1024
MAX_INFLIGHT_BYTES = 64 << 20
_IDLE = 0.5  # seconds between two turns of a loop without work
_REQUEST_ENTRIES, _REQUEST_BYTES = 10_000, 64 << 20
_RETAIN_ENTRIES = 1_000
_BATCH_BYTES, _MAX_BATCH_BYTES = 1 << 20, 4 << 20


class Group:
    """The log of one group. One thread, _write, owns its file.

    What is shared is guarded by self.changed, a condition that is notified after
    every change; streams wait on it.
    """

    def __init__(self, request, replica_id, broker_id, data_dir, fail):
        self.id, self._replica, self._broker, self._fail = request.group_id, replica_id, broker_id, fail
        self._dir = os.path.join(data_dir, "group-%d" % request.group_id)
        self._request_entries = request.tuning.snapshot_request_entries or _REQUEST_ENTRIES
        self._request_bytes = request.tuning.snapshot_request_bytes or _REQUEST_BYTES
        self._retain = request.tuning.retain_entries or _RETAIN_ENTRIES
        self.changed = threading.Condition()
        self.closed = False
        self._pending = []
        self._inflight, self._inflight_bytes = 0, 0  # taken and not answered: pending, or being written
        self._compact_to = 0
        self._bytes_since = 0  # of proposals, since the newest snapshot; after a start, of the whole log
        self._saving = threading.Lock()
        self.delivered = self.committed = self.rejected = 0
        self._sync_since, self._last_turn = 0.0, time.monotonic()
        self._recover(request)
        self._begin_term()
        self._writer = threading.Thread(target=self._write, name="group-%d" % self.id, daemon=True)
        self._writer.start()

    def _recover(self, request):
        path = os.path.join(self._dir, "log")
        new = not os.path.exists(path)
        members = [m.replica_id for m in request.initial_members]
        if request.mode == pb.OPEN_MODE_JOIN:
            raise Failure(pb.ERROR_CODE_UNSUPPORTED, "this backend is one node and joins nobody", self.id)
        if new and request.mode == pb.OPEN_MODE_RECOVER:
            raise Failure(pb.ERROR_CODE_GROUP_NOT_FOUND, "there is no data in %s" % self._dir, self.id)
        if new and members != [self._replica]:
            raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "this backend is one node: the members must be replica %d alone" % self._replica, self.id)
        try:
            os.makedirs(self._dir, mode=0o700, exist_ok=True)
            sync_dir(os.path.dirname(self._dir))
            self.snapshot = snapshots.newest(self._dir)
            if new and self.snapshot:
                raise storage_failed("recover %s" % path, "there is a snapshot, but no log")
            after = self.snapshot.index + 1 if self.snapshot else 1
            self.journal = journals.create(path, 1, []) if new else journals.recover(path, after)
        except OSError as e:
            raise storage_failed("recover group %d" % self.id, e) from e
        if not self.journal.first <= after <= self.journal.last + 1:
            raise storage_failed("recover %s" % path, "it has entries %d to %d, but the snapshot is at %d"
                                 % (self.journal.first, self.journal.last, after - 1))

    def _begin_term(self):
        """A term is used once (T3): its first entry is durable before anybody hears of it."""
        before = max(self.journal.term_of(self.journal.last), self.snapshot.term if self.snapshot else 0)
        self.term, self.last_sequence = before + 1, 0
        self.ready_index = self.journal.last + 1
        try:
            self.journal.append([Entry(self.ready_index, self.term, True, b"")])
        except OSError as e:
            raise storage_failed("begin term %d" % self.term, e) from e
        self.wanted, self._bytes_since = 0, self.journal.end
        self._want()

    # Proposals.

    def propose(self, request, done):
        """Takes a proposal or raises a Failure; done gets the pb.Result of one taken."""
        with self.changed:
            self._check(request)
            self.last_sequence = request.sequence
            self._pending.append((request.data, done))
            self._inflight += 1
            self._inflight_bytes += len(request.data)
            self.changed.notify_all()

    def _check(self, r):
        code = why = None
        if self.closed:
            code, why = pb.ERROR_CODE_NOT_LEADER, "the group is closed"
        elif r.expected_term != self.term:
            code, why = pb.ERROR_CODE_TERM_MISMATCH, "the term is %d, the proposal expects %d" % (self.term, r.expected_term)
        elif len(r.data) > MAX_PROPOSAL:
            code, why = pb.ERROR_CODE_TOO_LARGE, "%d bytes, at most %d are taken" % (len(r.data), MAX_PROPOSAL)
        elif r.sequence != self.last_sequence + 1:
            code, why = pb.ERROR_CODE_OUT_OF_SEQUENCE, "got %d, the last one was %d" % (r.sequence, self.last_sequence)
        elif self._inflight >= MAX_INFLIGHT or self._inflight_bytes + len(r.data) > MAX_INFLIGHT_BYTES:
            code, why = pb.ERROR_CODE_OVERLOADED, "too many proposals wait for the disk"
        if code:
            self.rejected += 1
            raise Failure(code, why, self.id)

    def _write(self):
        """Writes whatever was proposed meanwhile with one sync, and answers after it."""
        while True:
            with self.changed:
                if not self._pending and not self._compact_to and not self.closed:
                    self.changed.wait(_IDLE)
                batch, self._pending = self._pending, []
                compact_to, self._compact_to = self._compact_to, 0
                closed = self.closed
            self._last_turn = time.monotonic()
            try:
                if batch:
                    self._commit(batch)
                if compact_to:
                    self._compact(compact_to)
            except OSError as e:
                # The kernel may have dropped what it could not write, and the next
                # sync may succeed all the same: never again, and nothing is answered.
                self._sync_since = 0.0
                return self._fail(EXIT_STORAGE, storage_failed("write the log of group %d" % self.id, e))
            if closed and not batch:
                return

    def _commit(self, batch):
        first = self.journal.last + 1
        entries = [Entry(first + i, self.term, False, data) for i, (data, _) in enumerate(batch)]
        self._sync_since = time.monotonic()
        self.journal.append(entries)
        self._sync_since = 0.0
        size = sum(len(data) for data, _ in batch)
        with self.changed:
            self.committed += len(batch)
            self._inflight -= len(batch)  # before the answers, which make the broker send more
            self._inflight_bytes -= size
            self._bytes_since += size
            self._want()
            self.changed.notify_all()
        for i, (_, done) in enumerate(batch):
            done(pb.Result(outcome=pb.OUTCOME_COMMITTED, index=first + i))

    # Delivery.

    def await_entries(self, start, told, timeout):
        """Waits until there is an entry at start, or a commit index other than told."""
        with self.changed:
            if start == self.journal.last + 1 and self.journal.last == told and not self.closed:
                self.changed.wait(timeout)

    def read(self, start, max_bytes):
        """Committed entries from start on, none if start is the next one, and the commit index.

        They are read from the disk, without the lock: a proposal never waits for that.
        """
        with self.changed:
            j, last = self.journal, self.journal.last
            if self.closed:
                raise Failure(pb.ERROR_CODE_GROUP_NOT_FOUND, "the group is closed", self.id)
        if start < j.first:
            raise Failure(pb.ERROR_CODE_COMPACTED, "the log begins at %d" % j.first, self.id)
        if start > last + 1:
            raise Failure(pb.ERROR_CODE_AHEAD_OF_LOG, "the log ends at %d" % last, self.id)
        limit = min(max_bytes or _BATCH_BYTES, _MAX_BATCH_BYTES)
        batch, size = [], 0
        while start <= last and size < limit:
            e = j.read(start)
            size += len(e.data)
            if batch and size > limit:
                break
            batch.append(e)
            start += 1
        return batch, last

    # Snapshots.

    def save_snapshot(self, header, parts):
        """Stores a snapshot durably; then what it covers, less the retention, may go."""
        with self._saving:
            with self.changed:
                stored, last = self.snapshot.index if self.snapshot else 0, self.journal.last
            if header.index == 0 or header.index > last:
                raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "a snapshot at %d, the log ends at %d" % (header.index, last), self.id)
            if header.index <= stored:
                raise Failure(pb.ERROR_CODE_SNAPSHOT_STALE, "one at %d is stored already" % stored, self.id)
            try:
                snapshot = snapshots.receive(self._dir, header, parts)
                with self.changed:
                    old, self.snapshot = self.snapshot, snapshot
                    self._compact_to = max(0, snapshot.index - self._retain)
                    self._bytes_since = 0
                    self._want()
                    self.changed.notify_all()
                snapshots.remove(old)
            except OSError as e:
                raise storage_failed("save a snapshot of group %d" % self.id, e) from e
            return pb.SaveSnapshotResponse(stored_index=snapshot.index, first_index=self.journal.first)

    def _want(self):
        """Asks for a snapshot once there is enough to drop, until one is there."""
        stored = self.snapshot.index if self.snapshot else 0
        if self.wanted and stored >= self.wanted:
            self.wanted = 0
        long = self.journal.last - stored >= self._request_entries or self._bytes_since >= self._request_bytes
        if not self.wanted and long and self.journal.last > stored:
            self.wanted = self.journal.last

    def _compact(self, index):
        """Drops the entries up to index by writing the rest anew."""
        old = self.journal
        if index < old.first:
            return
        new = journals.create(old.path, index + 1, map(old.read, range(index + 1, old.last + 1)))
        with self.changed:
            self.journal = new
            self.changed.notify_all()

    # What there is to see.

    def leadership(self):
        leads = not self.closed
        return pb.Leadership(
            group_id=self.id, term=self.term,
            leader_replica_id=self._replica if leads else 0, leader_broker_id=self._broker if leads else -1,
            role=pb.ROLE_LEADER_READY if leads else pb.ROLE_FOLLOWER, ready_index=self.ready_index if leads else 0)

    def membership(self):
        me = pb.Member(replica_id=self._replica, broker_id=self._broker, role=pb.MEMBER_ROLE_VOTER)
        return pb.Membership(members=[me])

    def position(self):
        return pb.GroupPosition(
            group_id=self.id, first_index=self.journal.first, last_index=self.journal.last,
            snapshot_index=self.snapshot.index if self.snapshot else 0, term=self.term)

    def status(self):
        return pb.GroupStatus(
            leadership=self.leadership(), first_index=self.journal.first, last_index=self.journal.last,
            commit_index=self.journal.last, delivered_index=self.delivered,
            snapshot_index=self.snapshot.index if self.snapshot else 0, log_bytes=self.journal.end,
            proposals_inflight=self._inflight, committed_total=self.committed,
            rejected_total=self.rejected, leader_changes_total=1)

    def ages(self):
        """Seconds since the loop last turned, and of a sync in progress; takes no lock (L3)."""
        now, since = time.monotonic(), self._sync_since
        return now - self._last_turn, now - since if since else 0.0

    # The end.

    def close(self):
        """Writes what is pending, and answers it."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._writer.join()

    def destroy(self):
        """Closes the group and removes its data."""
        self.close()
        shutil.rmtree(self._dir)
        sync_dir(os.path.dirname(self._dir))
