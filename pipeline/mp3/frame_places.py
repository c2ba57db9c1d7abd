"""Where in a file the frames of an MP3 stream are: computed for a constant bit rate, indexed for any other.

Source: as `pipeline.mp3.frames`; the bit reservoir reaches 511 bytes back (ISO/IEC 11172-3 2.4.2.7).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frames import FrameHeader
from pipeline.mp3.runs import FrameRun
from pipeline.storage.clips import open_clip

_RESERVOIR_BYTES = 511
_PADDING_BIT = 0x02
_INDEX_STEP = 16  # the index holds the offset of every 16th frame: 10 bytes a second of music


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantFrames:
    """The offsets of the frames of a stream of constant bit rate.

    Attributes:
        offset: where in the file the first frame begins.
        mean_bytes: length of a frame, which need not be whole.
        key: the first three bytes of each frame's header, without the padding bit.
    """

    offset: int
    mean_bytes: float
    key: tuple[int, ...]

    def read(self, path: str, target: int, end: int, header: FrameHeader) -> tuple[bytes, int, int] | None:
        """Reads frames [target, end), the frames before them that they refer to, and perhaps a piece of the next frame.

        Args:
            path: the MP3.
            target: number of the first wanted frame.
            end: number of the last wanted frame plus one.
            header: header of the first frame of audio.

        Returns:
            The bytes, the number of their first frame, and the number of their last frame plus one; None if the frames
            are not where they should be.
        """
        first = _aligned(target - math.ceil(_RESERVOIR_BYTES / _payload_bytes(self.mean_bytes, header)), header)
        with open_clip(path) as file:
            file.seek(self.offset + int(first * self.mean_bytes) - 1)
            data = file.read(int((end - first) * self.mean_bytes) + 3)
        # Encoders pad a frame when a byte's worth of rounding has come together: the place is off by one at most.
        shift = next((shift for shift in (1, 2, 0) if _frame_key(data[shift : shift + 4]) == self.key), None)
        return None if shift is None else (data[shift:], first, end)


@dataclasses.dataclass(frozen=True, slots=True)
class IndexedFrames:
    """An index of the frames of a stream of any bit rate.

    Attributes:
        offsets: where in the file every `_INDEX_STEP`-th frame begins, and where the last frame ends, uint32 or uint64.
        count: number of frames.
        smallest_bytes: length of the shortest frame.
        runs: where each run of frames begins and ends; what is between runs is no frame of the stream.
    """

    offsets: np.ndarray
    count: int
    smallest_bytes: int
    runs: tuple[tuple[int, int], ...]

    def read(self, path: str, target: int, end: int, header: FrameHeader) -> tuple[bytes, int, int] | None:
        """Reads frames as `ConstantFrames.read` does, and a few frames after the last wanted one."""
        most_before = math.ceil(_RESERVOIR_BYTES / _payload_bytes(self.smallest_bytes, header))
        begin, behind = _aligned(target - most_before, header) // _INDEX_STEP, -(-end // _INDEX_STEP)
        at, until = int(self.offsets[begin]), int(self.offsets[behind])
        data = b""
        with open_clip(path) as file:
            for run_begin, run_end in self.runs:
                if run_begin < until and at < run_end:
                    file.seek(max(at, run_begin))
                    data += file.read(min(until, run_end) - max(at, run_begin))
        before = target - begin * _INDEX_STEP
        places = list(itertools.islice(mp3_frames.walk(data, 0, header), before + 1))
        if len(places) <= before:
            return None
        reservoir = first = 0
        for first in range(before, 0, -1):
            if reservoir >= _RESERVOIR_BYTES:
                break
            reservoir += _payload_bytes(places[first] - places[first - 1], header)
        else:
            first = 0
        first = _aligned(begin * _INDEX_STEP + first, header) - begin * _INDEX_STEP
        return data[places[first] :], begin * _INDEX_STEP + first, min(behind * _INDEX_STEP, self.count)


def constant_frames(
    head: bytes, header: FrameHeader, offset: int, frame_count: int, audio_bytes: int
) -> ConstantFrames | None:
    """Returns the places of the frames of a constant bit rate, or None if the counts of their Info frame deny it.

    Args:
        head: the first frame's header, 4 bytes.
        header: the same, parsed.
        offset: where that frame begins.
        frame_count: number of frames.
        audio_bytes: their length.
    """
    mean_bytes = header.samples / 8 * 1000 * header.bit_rate_kbps / header.sample_rate_hz
    # The frames that the tag counts fill the bytes that it counts, all at one rate.
    if abs(audio_bytes - frame_count * mean_bytes) >= 2 or header.frame_bytes <= 4 + header.side_info_bytes:
        return None
    return ConstantFrames(offset, mean_bytes, _frame_key(head))


def index_frames(stream: Sequence[FrameRun]) -> IndexedFrames:
    """Indexes the frames of a stream, given its runs in order."""
    starts = np.concatenate([run.places[:-1] for run in stream])
    end = stream[-1].places[-1]
    return IndexedFrames(
        np.append(starts[::_INDEX_STEP], end).astype(np.uint32 if end < 1 << 32 else np.uint64),
        len(starts),
        min(int(np.diff(run.places).min()) for run in stream),
        tuple((int(run.places[0]), int(run.places[-1])) for run in stream),
    )


def _aligned(frame: int, header: FrameHeader) -> int:
    """Returns the last frame, not after a given one, from which libmpg123 computes the same bits as from the beginning."""
    step = phase_frames(header)
    return max(0, frame) // step * step


def phase_frames(header: FrameHeader) -> int:
    """Returns after how many frames libmpg123's synthesis is where it was: it turns through 16 places, by 18 a granule."""
    return 8 * 576 // header.samples


def _payload_bytes(frame_bytes: float, header: FrameHeader) -> int:
    """Returns how many bytes a frame adds to the bit reservoir at least: all but header, checksum and side information."""
    return max(1, int(frame_bytes) - 6 - header.side_info_bytes)


def _frame_key(head: bytes) -> tuple[int, ...]:
    return (head[0], head[1], head[2] & ~_PADDING_BIT) if len(head) == 4 else ()
