"""A short MP3 cut out of a long one of constant bit rate: the same samples, without a walk to them.

libmpg123 (inside libsndfile) seeks by reading every frame header on the way: 1.5 us a frame, a tenth of a crop's time in
a clip of 30 s, most of it in a track of five minutes, whose file it reads up to there. At a constant bit rate the place
of a frame is known. The cut carries the file's own Info frame, so that the same delay is cut from its beginning, and
sample s of the file is sample s - 1152 n of the cut (576 n below 32 kHz), if that begins with frame n.

Source: as `mp3_frames`; the bit reservoir reaches 511 bytes back (ISO/IEC 11172-3 2.4.2.7), delay and padding in the
Info frame are at most 4095 samples (LAME), to which libmpg123 adds its decoder's 529.
"""

from __future__ import annotations

import dataclasses
import math
import struct

from pipeline import mp3_frames
from pipeline.clip_bytes import open_clip
from pipeline.mp3_frames import FrameHeader

_HEAD_BYTES = 8192
_RESERVOIR_BYTES = 511
_MAX_DELAY_SAMPLES = 4095 + 529
_MAX_PADDING_SAMPLES = 4095
_FRAMES_BEFORE_SEEK = 4  # that libmpg123 decodes before the frame it is asked for
_HAS_FRAMES_AND_BYTES = 0x3
_PADDING_BIT = 0x02


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantRateMp3:
    """An MP3 of constant bit rate, as its Info frame describes it.

    Attributes:
        info_frame: that frame.
        counts_offset: where in it the number of frames, and after it that of bytes, stand.
        offset: where in the file the first frame of audio begins.
        frame_count: number of frames of audio.
        header: that of the first frame of audio.
        frame_key: the first three bytes of each frame's header, without the padding bit.
    """

    info_frame: bytes
    counts_offset: int
    offset: int
    frame_count: int
    header: FrameHeader
    frame_key: tuple[int, int, int]

    def cut(self, path: str, start: int, samples: int) -> tuple[list[bytes], int] | None:
        """Cuts out an MP3 that holds [start, start + samples) of the file's samples per channel.

        Returns:
            Its bytes in pieces, and which sample of the file its first one is. None where the file is not as described.
        """
        header, size = self.header, self.mean_frame_bytes
        payload = header.frame_bytes - 4 - header.side_info_bytes
        before = _FRAMES_BEFORE_SEEK + 1 + math.ceil(_RESERVOIR_BYTES / payload)
        first = max(0, start // header.samples - before)
        # One frame more than delay and padding take, so that neither reaches the samples that are wanted.
        last_sample = start + samples + _MAX_DELAY_SAMPLES + _MAX_PADDING_SAMPLES
        end = min(self.frame_count, last_sample // header.samples + 2)
        if end <= first:
            return None
        guess = self.offset + int(first * size)
        with open_clip(path) as file:
            file.seek(guess - 1)
            data = file.read(int((end - first) * size) + 3)
        # Encoders pad a frame when a byte's worth of rounding has come together: the place is off by one at most.
        shift = next((shift for shift in (1, 2, 0) if self._is_frame(data[shift : shift + 4])), None)
        if shift is None:
            return None
        counts = struct.pack(">II", end - first, len(self.info_frame) + len(data) - shift)
        at = self.counts_offset
        tag = self.info_frame[:at] + counts + self.info_frame[at + len(counts) :]
        return [tag, data[shift:]], first * header.samples

    @property
    def mean_frame_bytes(self) -> float:
        """Length of a frame, which need not be whole."""
        header = self.header
        return header.samples / 8 * 1000 * header.bit_rate_kbps / header.sample_rate_hz

    def _is_frame(self, head: bytes) -> bool:
        return len(head) == 4 and _frame_key(head) == self.frame_key


def describe(path: str) -> ConstantRateMp3 | None:
    """Describes an MP3 of constant bit rate; None for every other file, also where its Info frame leaves doubt."""
    with open_clip(path) as file:
        tag_bytes = mp3_frames.skip_id3v2(file.read(_HEAD_BYTES))
        file.seek(tag_bytes)
        head = file.read(_HEAD_BYTES)
        file_bytes = file.size
    found = mp3_frames.find_frame(head, 0)
    if found is None:
        return None
    offset, header = found
    tag = offset + 4 + header.side_info_bytes
    if header.layer != 3 or head[tag : tag + 4] != b"Info" or tag + 16 > len(head):
        return None
    flags, frame_count, byte_count = struct.unpack_from(">III", head, tag + 4)
    audio = offset + header.frame_bytes
    first = mp3_frames.parse_header(head, audio)
    if first is None or flags & _HAS_FRAMES_AND_BYTES != _HAS_FRAMES_AND_BYTES:
        return None
    described = ConstantRateMp3(
        info_frame=head[offset:audio],
        counts_offset=tag + 8 - offset,
        offset=tag_bytes + audio,
        frame_count=frame_count,
        header=first,
        frame_key=_frame_key(head[audio : audio + 4]),
    )
    # The frames that the tag counts fill the bytes that it counts, all at one rate; and both are there.
    audio_bytes = byte_count - header.frame_bytes
    is_constant = abs(audio_bytes - frame_count * described.mean_frame_bytes) < 2
    is_whole = described.offset + audio_bytes <= file_bytes
    has_payload = first.layer == 3 and first.frame_bytes > 4 + first.side_info_bytes
    return described if is_constant and is_whole and has_payload else None


def _frame_key(head: bytes) -> tuple[int, int, int]:
    return head[0], head[1], head[2] & ~_PADDING_BIT
