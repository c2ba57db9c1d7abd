"""Where the bytes of a clip are: a file of its own, or a part of a record shard. Nothing else knows the difference.

The path of a clip in a shard is `DIR/records-00003-of-00016.tfrecord#RECORD+SKIP+LENGTH:ORIGINAL`: its record begins
RECORD bytes from the shard's beginning, and SKIP bytes further on stand the LENGTH bytes of the file that once was at
ORIGINAL. So whatever names a clip (failures.csv, predictions.csv, a message) names both its shard and its file.
"""

from __future__ import annotations

import dataclasses
import os
import re

from pipeline.storage.files import file_size, is_file, open_file

# For TensorFlow's regular expressions too, whose `.` does not match the bytes of a name that is not UTF-8.
PLACE_PATTERN = r"^(\C*?\.tfrecord)#(\d+)\+(\d+)\+(\d+):(\C*)$"
RECORD_HEADER_BYTES = 12  # of a TFRecord: the length of its data, and that number's checksum
_PLACE = re.compile(PLACE_PATTERN.replace(r"\C", r"[\s\S]"))


@dataclasses.dataclass(frozen=True)
class Place:
    """A clip's place in a shard.

    Attributes:
        shard: path of the shard.
        record: where in it the clip's record begins, in bytes.
        skip: bytes from there to the clip's own.
        length: number of those.
        original: path of the file that they were.
    """

    shard: str
    record: int
    skip: int
    length: int
    original: str

    def __str__(self) -> str:
        return f"{self.shard}#{self.record}+{self.skip}+{self.length}:{self.original}"


def find_place(path: str) -> Place | None:
    """Reads a clip's path; None for a file of its own."""
    found = _PLACE.match(path) if ".tfrecord#" in path else None
    if found is None:
        return None
    shard, record, skip, length, original = found.groups()
    return Place(shard, int(record), int(skip), int(length), original)


def containing_file(path: str) -> str:
    """The file that holds a clip: itself, or its shard."""
    place = find_place(path)
    return path if place is None else place.shard


def clip_size(path: str) -> int:
    """Size of a clip in bytes.

    Raises:
        OSError: its file or shard does not exist.
    """
    size = file_size(containing_file(path))
    place = find_place(path)
    return size if place is None else place.length


def clip_exists(path: str) -> bool:
    """Whether the file or shard that holds a clip exists."""
    return is_file(containing_file(path))


def clip_version(path: str) -> tuple[int, int]:
    """What changes when a clip's bytes do: time of modification and size of its file; zeros where these are unknown."""
    try:
        status = os.stat(containing_file(path))
    except OSError:  # also for a remote shard, which would cost a request
        return 0, 0
    return status.st_mtime_ns, status.st_size


def open_clip(path: str) -> ClipFile:
    """Opens a clip's bytes, and no others, for reading.

    Raises:
        OSError: its file or shard cannot be opened.
    """
    place = find_place(path)
    if place is None:
        return ClipFile(path, 0, file_size(path))
    return ClipFile(place.shard, place.record + place.skip, place.length)


def read_clip(path: str) -> bytes:
    """Reads all of a clip's bytes.

    Raises:
        OSError: its file or shard cannot be read, or is shorter than it was.
    """
    with open_clip(path) as file:
        return file.read()


class ClipFile:
    """A part of a file as a file: what libsndfile needs of one, and no buffer that would read more than is asked for.

    Args:
        path: of the file.
        offset: where the part begins, in bytes.
        size: its length in bytes.
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
        """Moves to a place in the part, as `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The place in the part."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Reads up to `size` bytes, or all that follow.

        Raises:
            OSError: they cannot be read, or the file ends before the part does.
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
