"""Cuts a short MP3 out of a long one, so that a crop of it is decoded without reading what comes before.

libmpg123 (inside libsndfile) seeks by reading every frame header up to the wanted place. That takes 1.5 us a frame: a tenth
of a crop's time in a clip of 30 s, and most of it in a track of five minutes. It then decodes the four frames before the
wanted one, which are too few where frames are small: music of a variable bit rate loses a frame or two after silence.
Here the offset of a frame follows from the constant bit rate, or comes from an index that one pass over the file makes,
and the cut begins as many frames earlier as the wanted frame refers to. The cut begins with the file's own Info or Xing
frame, so the decoder drops the same delay from its beginning. If the cut's first frame of audio is frame n, then sample s
of the file is sample s - 1152 n of the cut (576 n below 32 kHz).

Source: as `pipeline.mp3.frames`; the bit reservoir reaches 511 bytes back (ISO/IEC 11172-3 2.4.2.7), delay and padding in the
Info frame are at most 4095 samples (LAME), to which libmpg123 adds its decoder's 529.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct

import numpy as np

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.frames import FrameHeader
from pipeline.storage.clips import open_clip

_HEAD_BYTES = 8192
_RESERVOIR_BYTES = 511
DECODER_DELAY_SAMPLES = 529
_MAX_DELAY_SAMPLES = 4095 + DECODER_DELAY_SAMPLES
_MAX_PADDING_SAMPLES = 4095
_HAS_FRAMES, _HAS_BYTES = 0x1, 0x2
_PADDING_BIT = 0x02
# An hour at 128 kbit/s. A longer file of a variable bit rate is not read as a whole for its index.
_MAX_INDEXED_BYTES = 1 << 26
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
        first = max(0, target - math.ceil(_RESERVOIR_BYTES / _payload_bytes(self.mean_bytes, header)))
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
        offsets: where in the file every `_INDEX_STEP`-th frame begins, and where the last frame ends, uint32.
        count: number of frames.
        smallest_bytes: length of the shortest frame.
    """

    offsets: np.ndarray
    count: int
    smallest_bytes: int

    def read(self, path: str, target: int, end: int, header: FrameHeader) -> tuple[bytes, int, int] | None:
        """Reads frames as `ConstantFrames.read` does, and a few frames after the last wanted one."""
        most_before = math.ceil(_RESERVOIR_BYTES / _payload_bytes(self.smallest_bytes, header))
        begin, behind = max(0, target - most_before) // _INDEX_STEP, -(-end // _INDEX_STEP)
        at, until = int(self.offsets[begin]), int(self.offsets[behind])
        with open_clip(path) as file:
            file.seek(at)
            data = file.read(until - at)
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
        return data[places[first] :], begin * _INDEX_STEP + first, min(behind * _INDEX_STEP, self.count)


@dataclasses.dataclass(frozen=True, slots=True)
class SeekableMp3:
    """An MP3 whose frames can be found without reading the frames before them.

    Attributes:
        info_frame: the file's Info or Xing frame; for a file without such a frame, an Info frame that was made for it.
        counts_offset: where in `info_frame` the number of frames begins, which the number of bytes may follow.
        has_byte_count: whether the number of bytes follows.
        header: header of the first frame of audio.
        frame_count: number of frames of audio.
        frames: the frames' offsets.
        states_length: whether `info_frame` is the file's own.
        lead_samples: number of samples by which a cut begins later than its first frame. libmpg123 removes the decoder's
            delay from a cut because it has an Info frame, but not from a file without one.
    """

    info_frame: bytes
    counts_offset: int
    has_byte_count: bool
    header: FrameHeader
    frame_count: int
    frames: ConstantFrames | IndexedFrames
    states_length: bool = True
    lead_samples: int = 0

    def cut(self, path: str, start: int, samples: int) -> tuple[list[bytes], int] | None:
        """Cuts out an MP3 that holds [start, start + samples) of the file's samples per channel.

        Returns:
            The cut's bytes in pieces, and the number of the file's sample that is the cut's first. None if the file has
            changed since it was indexed, or if the samples are at its very beginning. The cut must be decoded from its
            beginning: after a seek in it the decoder would have too few frames before the wanted one.
        """
        header = self.header
        # Each granule of 576 samples overlaps with the next, and is smoothed by the one before that.
        target = max(0, start // header.samples - 1152 // header.samples)
        # One frame more than delay and padding take, so that neither reaches the samples that are wanted.
        last_sample = start + samples + _MAX_DELAY_SAMPLES + _MAX_PADDING_SAMPLES
        end = min(self.frame_count, last_sample // header.samples + 2)
        found = self.frames.read(path, target, end, header) if target < end else None
        if found is None:
            return None
        data, first, end = found
        first_sample = first * header.samples + self.lead_samples
        return ([self._tag(end - first, len(data)), data], first_sample) if first_sample <= start else None

    def _tag(self, frame_count: int, audio_bytes: int) -> bytes:
        counts = struct.pack(">I", frame_count)
        if self.has_byte_count:
            counts += struct.pack(">I", len(self.info_frame) + audio_bytes)
        at = self.counts_offset
        return self.info_frame[:at] + counts + self.info_frame[at + len(counts) :]


def index_mp3(path: str) -> SeekableMp3 | None:
    """Finds out where the frames of an MP3 are.

    A file of variable or unknown bit rate is read as a whole; of a file of constant bit rate, the beginning suffices.

    Args:
        path: a file, or a clip's path in a record shard.

    Returns:
        None if the file is not an MP3, or if its frames are not where its header says.

    Raises:
        OSError: the file cannot be read.
    """
    with open_clip(path) as file:
        tag_bytes = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
        file.seek(tag_bytes)
        head = file.read(_HEAD_BYTES)
        found = mp3_frames.find_frame(head, 0)
        if found is None or found[1].layer != 3:
            return None
        offset, header = found

        def index(begin: int, first: FrameHeader, frame_count: int | None) -> IndexedFrames | None:
            if file.size > _MAX_INDEXED_BYTES:
                return None
            file.seek(tag_bytes + begin)
            return _indexed_frames(file.read(), first, tag_bytes + begin, frame_count)

        if not mp3_frames.has_length_tag(head, offset, header):
            frames = index(offset, header, None)
            made = mp3_frames.info_frame(header, 0)
            counts_offset = 4 + header.side_info_bytes + 8
            if frames is None:
                return None
            return SeekableMp3(made, counts_offset, False, header, frames.count, frames, states_length=False)
        tag = offset + 4 + header.side_info_bytes
        if head[tag : tag + 4] not in (b"Info", b"Xing") or tag + 16 > len(head):
            return None
        flags, frame_count, byte_count = struct.unpack_from(">III", head, tag + 4)
        audio = offset + header.frame_bytes
        first = mp3_frames.parse_header(head, audio)
        if first is None or first.layer != 3 or not flags & _HAS_FRAMES:
            return None
        has_byte_count = bool(flags & _HAS_BYTES)
        places: ConstantFrames | IndexedFrames | None = None
        if has_byte_count and head[tag : tag + 4] == b"Info":
            audio_bytes = min(byte_count - header.frame_bytes, file.size - tag_bytes - audio)
            places = _constant_frames(head[audio : audio + 4], first, tag_bytes + audio, frame_count, audio_bytes)
        places = places or index(audio, first, frame_count)
    if places is None:
        return None
    return SeekableMp3(head[offset:audio], tag + 8 - offset, has_byte_count, first, frame_count, places)


def _constant_frames(
    head: bytes, header: FrameHeader, offset: int, frame_count: int, audio_bytes: int
) -> ConstantFrames | None:
    mean_bytes = header.samples / 8 * 1000 * header.bit_rate_kbps / header.sample_rate_hz
    # The frames that the tag counts fill the bytes that it counts, all at one rate.
    if abs(audio_bytes - frame_count * mean_bytes) >= 2 or header.frame_bytes <= 4 + header.side_info_bytes:
        return None
    return ConstantFrames(offset, mean_bytes, _frame_key(head))


def _indexed_frames(audio: bytes, header: FrameHeader, offset: int, frame_count: int | None) -> IndexedFrames | None:
    places = np.fromiter(mp3_frames.walk(audio, 0, header), np.uint32)
    count = len(places) - 1
    # No more, no fewer, and no junk between them; where they are not counted, none behind junk.
    is_whole = (
        mp3_frames.find_frame(audio, int(places[-1]) + 1) is None if frame_count is None else count == frame_count
    )
    if not count or not is_whole:
        return None
    index = np.append(places[:-1:_INDEX_STEP], places[-1]) + np.uint32(offset)
    return IndexedFrames(index, count, int(np.diff(places).min()))


def _payload_bytes(frame_bytes: float, header: FrameHeader) -> int:
    """Returns how many bytes a frame adds to the bit reservoir at least: all but header, checksum and side information."""
    return max(1, int(frame_bytes) - 6 - header.side_info_bytes)


def _frame_key(head: bytes) -> tuple[int, ...]:
    return (head[0], head[1], head[2] & ~_PADDING_BIT) if len(head) == 4 else ()
