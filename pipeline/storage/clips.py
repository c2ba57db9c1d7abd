"""Where the bytes of a clip are: in a file of its own or in a record shard. No other module knows the difference.

The path of a clip in a shard is `DIR/records-00003-of-00016.tfrecord#RECORD+SKIP+LENGTH:ORIGINAL`. Its record begins
RECORD bytes after the beginning of the shard. SKIP bytes after that begin the LENGTH bytes of the file that was packed
from the path ORIGINAL. So whatever names a clip (failures.csv, predictions.csv, a message) names both its shard and its
file.

A part of a clip, such as one of several Ogg streams that were joined, has the path `CLIP#part+OFFSET+LENGTH`. Such paths are
made and used by the decoders alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence

from pipeline.storage.files import file_size, is_file, open_file

# For TensorFlow's regular expressions too, whose `.` does not match the bytes of a name that is not UTF-8.
RECORD_SPAN_PATTERN = r"^(\C*?\.tfrecord)#(\d+)\+(\d+)\+(\d+):(\C*)$"
RECORD_HEADER_BYTES = 12  # of a TFRecord: the length of its data, and that number's checksum
_RECORD_SPAN = re.compile(RECORD_SPAN_PATTERN.replace(r"\C", r"[\s\S]"))


_PART = re.compile(r"([\s\S]*)#part\+(\d+)\+(\d+)")


@dataclasses.dataclass(frozen=True)
class RecordSpan:
    """The bytes of a shard that are a clip.

    Attributes:
        shard: path of the shard.
        record: where the clip's record begins in the shard, in bytes.
        skip: bytes from there to the clip's own bytes.
        length: number of the clip's bytes.
        original: path of the file that was packed.
    """

    shard: str
    record: int
    skip: int
    length: int
    original: str

    def __str__(self) -> str:
        return f"{self.shard}#{self.record}+{self.skip}+{self.length}:{self.original}"


def find_record_span(path: str) -> RecordSpan | None:
    """Parses a clip's path; returns None for a clip in a file of its own."""
    found = _RECORD_SPAN.match(path) if ".tfrecord#" in path else None
    if found is None:
        return None
    shard, record, skip, length, original = found.groups()
    return RecordSpan(shard, int(record), int(skip), int(length), original)


def part_paths(path: str, starts: Sequence[int], size: int) -> tuple[str, ...]:
    """Returns the paths of the parts of a clip that begin at `starts`, ascending, and end where the next one begins.

    Args:
        path: of the clip.
        starts: offsets in bytes.
        size: of the clip in bytes.
    """
    ends = [*starts[1:], size]
    return tuple(f"{path}#part+{start}+{end - start}" for start, end in zip(starts, ends, strict=False))


def is_whole_file(path: str) -> bool:
    """Returns whether a path names a file, and not a clip in a shard or a part of a clip."""
    return find_record_span(path) is None and _find_part(path) is None


def containing_file(path: str) -> str:
    """Returns the path of the file that holds a clip: its own file, or its shard."""
    if (part := _find_part(path)) is not None:
        path = part[0]
    span = find_record_span(path)
    return path if span is None else span.shard


def clip_size(path: str) -> int:
    """Returns the size of a clip in bytes.

    Raises:
        OSError: the clip's file or shard does not exist.
    """
    size = file_size(containing_file(path))
    if (part := _find_part(path)) is not None:
        return part[2]
    span = find_record_span(path)
    return size if span is None else span.length


def clip_exists(path: str) -> bool:
    """Returns whether the file or shard that holds a clip exists."""
    return is_file(containing_file(path))


def clip_version(path: str) -> tuple[int, int]:
    """Returns the modification time and size of a clip's file, which change with the clip; zeros where they are unknown."""
    try:
        status = os.stat(containing_file(path))
    except OSError:  # also for a remote shard, which would cost a request
        return 0, 0
    return status.st_mtime_ns, status.st_size


def open_clip(path: str) -> ClipFile:
    """Opens a clip's bytes, and no others, for reading.

    Raises:
        OSError: the clip's file or shard cannot be opened.
    """
    part = _find_part(path)
    if part is not None:
        path = part[0]
    span = find_record_span(path)
    file, begin, size = (path, 0, None) if span is None else (span.shard, span.record + span.skip, span.length)
    if part is not None:
        begin, size = begin + part[1], part[2]
    return ClipFile(file, begin, file_size(file) if size is None else size)


def read_clip(path: str) -> bytes:
    """Reads all of a clip's bytes.

    Raises:
        OSError: the clip's file or shard cannot be read, or is shorter than it was.
    """
    with open_clip(path) as file:
        return file.read()


def _find_part(path: str) -> tuple[str, int, int] | None:
    """Parses the path of a part of a clip to the clip's path, offset and length; returns None for any other path."""
    found = _PART.fullmatch(path) if "#part+" in path else None
    return None if found is None else (found[1], int(found[2]), int(found[3]))


class ClipFile:
    """A part of a file as a file object with the methods that libsndfile needs. It never reads more than is asked for.

    Args:
        path: path of the file.
        offset: where the part begins, in bytes.
        size: length of the part in bytes.
    """

    def __init__(self, path: str, offset: int, size: int):
        self.size = size
        self._path, self._offset, self._position = path, offset, 0
        self._file = open_file(path)

    def __enter__(self) -> ClipFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to an offset in the part, as `io.IOBase.seek` does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Returns the current offset in the part."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes, or all bytes that follow if `size` is negative.

        Raises:
            OSError: the bytes cannot be read, or the file ends before the part does.
        """
        left = max(0, self.size - self._position)
        wanted = left if size < 0 else min(size, left)
        self._file.seek(self._offset + self._position)
        data = self._file.read(wanted)
        if len(data) < wanted:
            end = self._offset + self._position + len(data)
            raise OSError(f"{self._path} ends after {end} bytes, {wanted - len(data)} too early")
        self._position += len(data)
        return data
