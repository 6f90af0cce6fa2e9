"""Snapshots: a file snapshot-<index> with its description in JSON on the first line."""

import hashlib
import json
import os
import re

from .errors import Failure, pb
from .files import publish, storage_failed, sync_dir

CHUNK = 512 << 10
_MAX_CHUNK = 1 << 20
_NAME = re.compile(r"snapshot-(\d+)$")


class Snapshot:
    """A stored snapshot: its description, and where its content begins."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            meta = json.loads(f.readline())
            self.start = f.tell()
        self.index, self.term, self.format = meta["index"], meta["term"], meta["format"]
        self.size, self.sha256 = meta["size"], bytes.fromhex(meta["sha256"])

    def to_proto(self, group):
        return pb.SnapshotMeta(group_id=group, index=self.index, term=self.term, size=self.size, format=self.format)

    def parts(self, group):
        """The snapshot as messages: header, chunks, trailer."""
        yield pb.SnapshotPart(header=self.to_proto(group))
        digest = hashlib.sha256()
        with open(self.path, "rb") as f:
            f.seek(self.start)
            while chunk := f.read(CHUNK):
                digest.update(chunk)
                yield pb.SnapshotPart(chunk=chunk)
        if digest.digest() != self.sha256:
            raise storage_failed("read %s" % self.path, "its content has changed")
        trailer = self.to_proto(group)
        trailer.sha256 = self.sha256
        yield pb.SnapshotPart(trailer=trailer)


def newest(directory):
    """The newest snapshot, or None. Drafts and older ones are removed."""
    found = []
    for name in os.listdir(directory):
        match = _NAME.match(name)
        if match:
            found.append(int(match[1]))
        elif name.startswith("snapshot-"):
            os.remove(os.path.join(directory, name))  # never became visible
    for index in sorted(found)[:-1]:
        os.remove(os.path.join(directory, "snapshot-%d" % index))
    if not found:
        return None
    path = os.path.join(directory, "snapshot-%d" % max(found))
    try:
        return Snapshot(path)
    except (OSError, ValueError, KeyError) as e:
        raise storage_failed("read %s" % path, e) from e


def receive(directory, header, parts):
    """Stores what arrives after the header; nothing is visible before it is right."""
    draft = os.path.join(directory, "snapshot-%d.tmp" % header.index)
    body = draft + ".body"
    digest, size, trailer = hashlib.sha256(), 0, None
    try:
        with open(body, "wb") as f:
            for part in parts:
                if part.WhichOneof("part") == "trailer":
                    trailer = part.trailer
                    break
                if part.WhichOneof("part") != "chunk" or len(part.chunk) > _MAX_CHUNK:
                    raise _invalid("a part that is neither trailer nor a chunk of 1 MiB at most")
                digest.update(part.chunk)
                size += len(part.chunk)
                f.write(part.chunk)
        if trailer is None:
            raise _invalid("the stream ended before the trailer")
        if (trailer.index, trailer.term) != (header.index, header.term):
            raise _invalid("header and trailer name different positions")
        if trailer.size != size or header.size not in (0, size) or trailer.sha256 != digest.digest():
            raise _invalid("size or checksum are wrong")
        meta = {"index": header.index, "term": header.term, "format": header.format, "size": size, "sha256": digest.hexdigest()}
        with open(draft, "wb") as f, open(body, "rb") as content:
            f.write(json.dumps(meta).encode() + b"\n")
            while chunk := content.read(CHUNK):
                f.write(chunk)
        path = os.path.join(directory, "snapshot-%d" % header.index)
        publish(draft, path)
        return Snapshot(path)
    finally:
        for name in (draft, body):
            if os.path.exists(name):
                os.remove(name)


def remove(snapshot):
    """Removes a snapshot that a newer one has replaced."""
    if snapshot:
        os.remove(snapshot.path)
        sync_dir(os.path.dirname(snapshot.path))


def _invalid(why):
    return Failure(pb.ERROR_CODE_SNAPSHOT_INVALID, why)
