"""The log file of a group, all numbers little endian:

    header   magic (8), salt (8), base (8): the file's length when it was created, whole
    records  crc32 (4) over the salt and the rest, length of data (4), durable (8),
             index (8), term (8), internal (1), data

durable is the length of the file that was on stable storage when the record was
written. It tells a torn tail from damage (rule S3): a bad record is torn, and cut,
only if neither base nor any whole record behind it says that it was durable once.
"""

import array
import collections
import mmap
import os
import struct
import zlib

from .files import publish, storage_failed

_MAGIC = b"qpysolo1"
_HEADER = struct.Struct("<8s8sQ")
_RECORD = struct.Struct("<IIQQQB")
_BODY = struct.Struct("<IQQQB")
_DURABLE, _DURABLE_AT = struct.Struct("<Q"), 8  # alone, and where it is in a record

Entry = collections.namedtuple("Entry", "index term internal data")


class Journal:
    """The entries first, first+1, ... in a file. In memory is only where each begins.

    One thread appends; any may read up to an index that it has seen in last. The
    file is closed when nobody refers to the journal any more, so that a reader may
    go on with one that a newer one has replaced.
    """

    def __init__(self, path, first, salt, file, end, begins):
        self.path, self.first, self.end = path, first, end
        self._salt, self._file, self._begins = salt, file, begins

    @property
    def last(self):
        return self.first + len(self._begins) - 1

    def read(self, index):
        """The entry at an index that is in the log. Damage is found here too."""
        at = self._begins[index - self.first]
        head = os.pread(self._file.fileno(), _RECORD.size, at)
        _, length, *_ = _RECORD.unpack(head)
        record = head + os.pread(self._file.fileno(), min(length, self.end - at), at + len(head))
        parsed = _parse(record, 0, self._salt)
        if not parsed or parsed[0].index != index:
            raise storage_failed("read %s" % self.path, "entry %d is damaged at byte %d" % (index, at))
        return parsed[0]

    def term_of(self, index):
        """The term of an entry in the log, or 0."""
        return self.read(index).term if self.first <= index <= self.last else 0

    def append(self, entries):
        """Appends and returns once that is durable. An OSError is final."""
        records = [_encode(self._salt, self.end, e) for e in entries]
        view, at = memoryview(b"".join(records)), self.end
        while view:
            n = os.pwrite(self._file.fileno(), view, at)
            view, at = view[n:], at + n
        os.fdatasync(self._file.fileno())
        begin = self.end
        self.end = at
        for record in records:
            self._begins.append(begin)
            begin += len(record)


def _encode(salt, durable, e):
    body = _BODY.pack(len(e.data), durable, e.index, e.term, e.internal) + e.data
    return struct.pack("<I", zlib.crc32(salt + body)) + body


def create(path, first, entries):
    """Writes a journal of entries beside path and renames it once it is durable."""
    salt, begins, end = os.urandom(8), array.array("Q"), _HEADER.size
    with open(path + ".tmp", "wb") as f:
        f.write(bytes(_HEADER.size))
        for e in entries:
            begins.append(end)
            end += f.write(_encode(salt, end, e))
        f.seek(0)
        f.write(_HEADER.pack(_MAGIC, salt, end))
    publish(path + ".tmp", path)
    return Journal(path, first, salt, open(path, "r+b", buffering=0), end, begins)


def recover(path, first):
    """Opens the journal in path; first is its first index if it has no entry."""
    file = open(path, "r+b", buffering=0)
    if os.fstat(file.fileno()).st_size < _HEADER.size:
        raise storage_failed("recover %s" % path, "the header is missing")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        magic, salt, base = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise storage_failed("recover %s" % path, "this is no log of this backend")
        begins, at, index = array.array("Q"), _HEADER.size, None
        while record := _parse(data, at, salt):
            entry, _, size = record
            if begins and entry.index != index + 1:
                raise storage_failed("recover %s" % path, "entry %d follows %d" % (entry.index, index))
            first, index = first if begins else entry.index, entry.index
            begins.append(at)
            at += size
        if at < len(data) and _was_durable(data, at, salt, base):
            raise storage_failed("recover %s" % path, "the log is damaged at byte %d" % at)
    if at < base:
        raise storage_failed("recover %s" % path, "the log is cut at byte %d of at least %d" % (at, base))
    os.ftruncate(file.fileno(), at)
    os.fsync(file.fileno())
    return Journal(path, first, salt, file, at, begins)


def _parse(data, at, salt):
    """The record at a position of bytes, what it knew to be durable, and its size; or None."""
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
        durable = _DURABLE.unpack_from(data, at + _DURABLE_AT)[0]
        if bad < durable <= at and _parse(data, at, salt):
            return True
    return False
