"""The data directory: locked by one process, stamped with its owner (rule L2)."""

import fcntl
import json
import os
import time

from .errors import Failure, pb
from .files import publish, storage_failed

_LOCK_WAIT = 10.0  # seconds, for a predecessor that is dying
_FORMAT = 1


class DataDir:
    """A data directory that this process holds the lock of."""

    def __init__(self, path, backend, cluster_id, replica_id):
        self.path = path
        self._lock = _lock(os.path.join(path, "LOCK"))
        try:
            _check(path, {"backend": backend, "format": _FORMAT, "cluster_id": cluster_id, "replica_id": replica_id})
        except BaseException:
            self.release()
            raise

    def release(self):
        """Gives the lock up."""
        os.close(self._lock)


def _lock(name):
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise Failure(pb.ERROR_CODE_INVALID_ARGUMENT, "open the lock of the data directory: %s" % e) from e
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise Failure(pb.ERROR_CODE_DATA_DIR_LOCKED, "%s is locked by process %s" % (name, holder)) from None
            time.sleep(0.02)
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)  # for people; the lock is what counts
    return fd


def _check(path, want):
    name = os.path.join(path, "META.json")
    try:
        with open(name, encoding="utf-8") as f:
            got = json.load(f)
    except FileNotFoundError:
        return _create(path, name, want)
    except ValueError as e:
        raise Failure(pb.ERROR_CODE_DATA_INCOMPATIBLE, "%s cannot be read: %s" % (name, e)) from e
    except OSError as e:
        raise storage_failed("read META.json", e) from e
    if got != want:
        raise Failure(pb.ERROR_CODE_DATA_INCOMPATIBLE, "%s holds data of %s, this is %s" % (path, got, want))


def _create(path, name, meta):
    for other in os.listdir(path):
        if other not in ("LOCK", "META.json.tmp"):
            raise Failure(pb.ERROR_CODE_DATA_INCOMPATIBLE, "%s holds %s but no META.json" % (path, other))
    try:
        with open(name + ".tmp", "w", encoding="utf-8") as f:
            json.dump(meta, f, indent=2)
            f.write("\n")
        publish(name + ".tmp", name)
    except OSError as e:
        raise storage_failed("write META.json", e) from e
