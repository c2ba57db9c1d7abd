"""A short MP3 cut out of a long one: the same samples, without a walk to them.

libmpg123 (inside libsndfile) seeks by reading every frame header on the way: 1.5 us a frame, a tenth of a crop's time in
a clip of 30 s, most of it in a track of five minutes, whose file it reads up to there. It then decodes four frames before
the one that is wanted, which is too few where those are small: music of a variable bit rate that begins after silence
loses a frame or two. Here the place of a frame follows from a constant bit rate, or is written down in one pass over the
file, and as many frames come before as the wanted one refers to. The cut carries the file's own Info or Xing frame, so
that the same delay is cut from its beginning, and sample s of the file is sample s - 1152 n of the cut (576 n below
32 kHz), if that begins with frame n.

Source: as `mp3_frames`; the bit reservoir reaches 511 bytes back (ISO/IEC 11172-3 2.4.2.7), delay and padding in the
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
# An hour at 128 kbit/s. Longer ones of a variable rate are not read whole to write their frames down.
_MAX_INDEXED_BYTES = 1 << 26
_INDEX_STEP = 16  # frames between those that are written down: 10 bytes a second of music


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantFrames:
    """The places of frames of a constant bit rate.

    Attributes:
        offset: where in the file the first one begins.
        mean_bytes: length of a frame, which need not be whole.
        key: the first three bytes of each frame's header, without the padding bit.
    """

    offset: int
    mean_bytes: float
    key: tuple[int, ...]

    def read(self, path: str, target: int, end: int, header: FrameHeader) -> tuple[bytes, int, int] | None:
        """Reads frames [target, end), those before that they refer to, and perhaps a piece of the next.

        Returns:
            Their bytes, the first one's number, and the last one's plus one; None if they are not there.
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
    """The places of frames of any bit rate.

    Attributes:
        offsets: where in the file every `_INDEX_STEP`-th one begins, and the last one ends, uint32.
        count: number of frames.
        smallest_bytes: length of the shortest one.
    """

    offsets: np.ndarray
    count: int
    smallest_bytes: int

    def read(self, path: str, target: int, end: int, header: FrameHeader) -> tuple[bytes, int, int] | None:
        """As `ConstantFrames.read`, with a few frames behind the last."""
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
    """An MP3 of whose frames the places are known.

    Attributes:
        info_frame: its Info or Xing frame, or one that is made for it.
        counts_offset: where in that the number of frames, and after it that of bytes, stand.
        has_byte_count: whether the latter does.
        header: that of the first frame of audio.
        frame_count: number of frames of audio.
        frames: their places.
        states_length: whether that frame is its own.
        lead_samples: by how much its first sample comes before that of a cut from there: where a made frame stands,
            libmpg123 takes its decoder's delay away, which it leaves in a file without any.
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
            Its bytes in pieces, and which sample of the file its first one is. None where the file is not as described,
            or at its very beginning.
            It must be decoded from its beginning: a seek in it would find too few frames before its place.
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


def describe(path: str) -> SeekableMp3 | None:
    """Describes an MP3; None for every other file, and where something leaves doubt about its frames.

    A variable bit rate, or an unknown one, takes a pass over the file; a constant one is known from its beginning.
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
    """What a frame adds to the bit reservoir at least: all but its header, checksum and side information."""
    return max(1, int(frame_bytes) - 6 - header.side_info_bytes)


def _frame_key(head: bytes) -> tuple[int, ...]:
    return (head[0], head[1], head[2] & ~_PADDING_BIT) if len(head) == 4 else ()
