"""Files that are whole or not there."""

import os

from .errors import Failure, pb


def storage_failed(what, error):
    """The error after which the process must end (rule S2)."""
    return Failure(pb.ERROR_CODE_STORAGE_FAILED, "%s: %s" % (what, error))


def sync_dir(path):
    """Makes the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(draft, path):
    """Makes a draft durable, then visible as path, then that durable too."""
    fd = os.open(draft, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    sync_dir(os.path.dirname(path))
