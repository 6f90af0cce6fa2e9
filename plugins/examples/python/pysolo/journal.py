"""The log file of a group, all numbers little endian:

    header   magic (8), salt (8), base (8): the file's length when it was created, whole
    records  crc32 (4) over the salt and the rest, length of data (4), durable (8),
             index (8), term (8), internal (1), data

durable is the length of the file that was on stable storage when the record was
written. It tells a torn tail from damage (rule S3): a bad record is torn, and cut,
only if neither base nor any whole record behind it says that it was durable once.
"""

import collections
import os
import struct
import zlib

from .files import publish, storage_failed

_MAGIC = b"qpysolo1"
_HEADER = struct.Struct("<8s8sQ")
_RECORD = struct.Struct("<IIQQQB")
_BODY = struct.Struct("<IQQQB")

Entry = collections.namedtuple("Entry", "index term internal data")


class Journal:
    """The entries first, first+1, ... in a file, all of them in memory too.

    One thread appends; any may read self.entries up to a length it has seen.
    """

    def __init__(self, path, first, entries, salt, fd, end):
        self.path, self.first, self.entries = path, first, entries
        self.salt, self.fd, self.end = salt, fd, end

    @property
    def last(self):
        return self.first + len(self.entries) - 1

    def term_of(self, index):
        """The term of an entry in the log, or 0."""
        return self.entries[index - self.first].term if self.first <= index <= self.last else 0

    def append(self, entries):
        """Appends and returns once that is durable. An OSError is final."""
        data = b"".join(_encode(self.salt, self.end, e) for e in entries)
        view, at = memoryview(data), self.end
        while view:
            n = os.pwrite(self.fd, view, at)
            view, at = view[n:], at + n
        os.fdatasync(self.fd)
        self.end = at
        self.entries.extend(entries)

    def close(self):
        os.close(self.fd)


def _encode(salt, durable, e):
    body = _BODY.pack(len(e.data), durable, e.index, e.term, e.internal) + e.data
    return struct.pack("<I", zlib.crc32(salt + body)) + body


def create(path, first, entries):
    """Writes a journal of entries beside path and renames it once it is durable."""
    salt = os.urandom(8)
    records, end = [], _HEADER.size
    for e in entries:
        records.append(_encode(salt, end, e))
        end += len(records[-1])
    with open(path + ".tmp", "wb") as f:
        f.write(_HEADER.pack(_MAGIC, salt, end) + b"".join(records))
    publish(path + ".tmp", path)
    return Journal(path, first, list(entries), salt, os.open(path, os.O_RDWR | os.O_CLOEXEC), end)


def recover(path, first):
    """Opens the journal in path; first is its first index if it has no entry."""
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < _HEADER.size:
        raise storage_failed("recover %s" % path, "the header is missing")
    magic, salt, base = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise storage_failed("recover %s" % path, "this is no log of this backend")
    entries, at = [], _HEADER.size
    while record := _parse(data, at, salt):
        entry, _, size = record
        if entries and entry.index != entries[-1].index + 1:
            raise storage_failed("recover %s" % path, "entry %d follows %d" % (entry.index, entries[-1].index))
        entries.append(entry)
        at += size
    if at < len(data) and _was_durable(data, at, salt, base):
        raise storage_failed("recover %s" % path, "the log is damaged at byte %d" % at)
    if at < base:
        raise storage_failed("recover %s" % path, "the log is cut at byte %d of at least %d" % (at, base))
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.ftruncate(fd, at)
    os.fsync(fd)
    return Journal(path, entries[0].index if entries else first, entries, salt, fd, at)


def _parse(data, at, salt):
    """The record at a position, what it knew to be durable, and its size; or None."""
    if at + _RECORD.size > len(data):
        return None
    crc, length, durable, index, term, internal = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    if end > len(data) or zlib.crc32(data[at + 4 : end], zlib.crc32(salt)) != crc:
        return None
    return Entry(index, term, bool(internal), data[at + _RECORD.size : end]), durable, end - at


def _was_durable(data, bad, salt, base):
    """Whether the bad record at a position was whole once: something behind it knows."""
    if bad < base:
        return True
    for at in range(bad + 1, len(data) - _RECORD.size + 1):
        record = _parse(data, at, salt)
        if record and record[1] > bad:
            return True
    return False
