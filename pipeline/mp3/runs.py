"""Finds every run of frames in an MP3, block by block, so that a file of any size takes little memory.

Files are joined (`cat a.mp3 b.mp3`), damaged and recorded from the radio: tags, junk, and frames of another stream may stand
anywhere. A run is what no such thing interrupts.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frames import FrameHeader
from pipeline.storage.clips import ClipFile

_BLOCK_BYTES = 1 << 20
# The first bytes of a header, whose bit rate is not free and not forbidden; or what ends a block and may go on as one.
_HEADER = re.compile(rb"(?=\xff(?:[\xe2-\xff](?:[\x10-\xef]|\Z)|\Z))")
_MAX_FRAME_BYTES = 2881  # of Layer II and III
# Junk holds two headers in a row by chance more often than four; damage in a header looks like another stream.
_CHAIN_OF_SAME_STREAM, _CHAIN_OF_OTHER_STREAM = 2, 4
_ID3V1_BYTES, _APE_HEADER_BYTES = 128, 32


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FrameRun:
    """Frames of one stream that follow one another without a gap.

    Attributes:
        header: of the first frame.
        places: where in the file each frame begins, and where the last one ends, int64 [frames + 1].
    """

    header: FrameHeader
    places: np.ndarray

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.places) - 1

    @property
    def seconds(self) -> float:
        """The run's length."""
        return self.count * self.header.samples / self.header.sample_rate_hz

    def split(self, count: int) -> tuple[FrameRun, FrameRun]:
        """Returns the first `count` frames and the others."""
        return FrameRun(self.header, self.places[: count + 1]), FrameRun(self.header, self.places[count:])


def find_runs(file: ClipFile, offset: int, header: FrameHeader) -> Iterator[FrameRun]:
    """Finds the runs of a file from a frame on.

    Args:
        file: the MP3.
        offset: where that frame begins.
        header: of that frame.

    Yields:
        The runs in the order of the file.

    Raises:
        OSError: the file cannot be read.
    """
    window = _Window(file)
    while True:
        places = _walk(window, offset, header)
        if len(places) > 1:
            yield FrameRun(header, places)
        found = _find_next(window, _skip_tags(window, int(places[-1])), header)
        if found is None:
            return
        offset, header = found


def has_frames(file: ClipFile, offset: int, header: FrameHeader) -> bool:
    """Returns whether frames follow directly behind `offset` and the tags there.

    Args:
        file: the MP3.
        offset: where its stream should end.
        header: of a frame of that stream.

    Raises:
        OSError: the file cannot be read.
    """
    window = _Window(file)
    begin = _skip_tags(window, offset)
    return _find_next(window, begin, header, begin + mp3_frames.MAX_JUNK_BYTES, _CHAIN_OF_OTHER_STREAM) is not None


class _Window:
    """A block of a file that moves on as it is read."""

    def __init__(self, file: ClipFile):
        self.size = file.size
        self._file, self._base, self._data = file, 0, b""

    def read(self, offset: int, size: int) -> bytes:
        """Returns up to `size` bytes from `offset`, fewer at the end of the file."""
        size = max(0, min(size, self.size - offset))
        if not self._base <= offset <= offset + size <= self._base + len(self._data):
            self._file.seek(offset)
            self._base, self._data = offset, self._file.read(max(size, _BLOCK_BYTES))
        return self._data[offset - self._base : offset - self._base + size]


def _walk(window: _Window, offset: int, header: FrameHeader) -> np.ndarray:
    """Returns the offsets of the frames from `offset` on, and where the last one ends, int64."""
    pieces = []
    while True:
        data = window.read(offset, _BLOCK_BYTES)
        places = np.fromiter(mp3_frames.walk(data, 0, header), np.int64) + offset
        end = int(places[-1])
        if end == offset or offset + len(data) >= window.size or end + _MAX_FRAME_BYTES < offset + len(data):
            pieces.append(places)
            return np.concatenate(pieces)
        pieces.append(places[:-1])
        offset = end


def _find_next(
    window: _Window, offset: int, header: FrameHeader, end: int | None = None, chain: int = _CHAIN_OF_SAME_STREAM
) -> tuple[int, FrameHeader] | None:
    """Finds the next frame from `offset` on that begins a chain of frames.

    Args:
        window: of the file.
        offset: where to begin.
        header: of a frame of the stream that came before.
        end: where to give up; None means at the end of the file.
        chain: how many frames of the same stream make a chain.
    """
    end = window.size if end is None else min(end, window.size)
    while offset < end:
        data = window.read(offset, min(_BLOCK_BYTES, end - offset))
        for match in _HEADER.finditer(data):
            place = offset + match.start()
            found = mp3_frames.parse_header(window.read(place, 4))
            if found is not None:
                is_same = mp3_frames.is_same_stream(header, found) and header.channels == found.channels
                if _is_chain(window, place, found, chain if is_same else _CHAIN_OF_OTHER_STREAM):
                    return place, found
        offset += len(data)
    return None


def _is_chain(window: _Window, offset: int, header: FrameHeader, length: int) -> bool:
    """Returns whether so many frames of one stream follow one another, or fewer that end the file."""
    found: FrameHeader | None = header
    for number in range(length):
        if found is None or not mp3_frames.is_same_stream(header, found) or header.channels != found.channels:
            return False
        offset += found.frame_bytes
        if offset >= window.size:
            return offset == window.size and (number > 0 or length == _CHAIN_OF_SAME_STREAM)
        found = mp3_frames.parse_header(window.read(offset, 4))
    return True


def _skip_tags(window: _Window, offset: int) -> int:
    """Returns the offset of the first byte behind the tags that begin at `offset`."""
    for _ in range(mp3_frames.MAX_TAGS):
        head = window.read(offset, _APE_HEADER_BYTES)
        if head.startswith(b"ID3"):
            size = mp3_frames.skip_id3v2(head[:10])
        elif head.startswith(b"TAG"):
            size = _ID3V1_BYTES
        elif head.startswith(b"APETAGEX") and len(head) == _APE_HEADER_BYTES:
            size = _APE_HEADER_BYTES + int.from_bytes(head[12:16], "little")
        else:
            break
        offset += size
    return offset
