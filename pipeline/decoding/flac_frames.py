"""Finds the true length of a FLAC file from its last frame, because headers state none (pipes) or a false one (joined files).

Source: RFC 9639 (FLAC), 8.2 streaminfo and 9.1 frame header.
"""

from __future__ import annotations

import dataclasses

from pipeline.mp3.frames import skip_id3v2
from pipeline.storage.clips import ClipFile, part_paths

MARKER = b"fLaC\x00\x00\x00\x22"  # and a streaminfo block, which is always first and of this size
_STREAMINFO_BYTES = 34
_NUMBERS_AT = 18  # where rate, channels, bits and number of samples begin behind the marker
_SAMPLES_MASK = (1 << 36) - 1
_SEARCHED_BYTES = 1 << 17  # in which a frame is looked for, at first
_MAX_FRAME_BYTES = 1 << 21
_PROBED_SHARES = (0.17, 0.43, 0.61, 0.89)  # of a file
_SLACK_BYTES = 1 << 18  # that tags may take at a file's end
_BLOCK_BYTES = 1 << 23
_BLOCK_SIZES = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}
_RATES_HZ = {
    1: 88200,
    2: 176400,
    3: 192000,
    4: 8000,
    5: 16000,
    6: 22050,
    7: 24000,
    8: 32000,
    9: 44100,
    10: 48000,
    11: 96000,
}
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}


@dataclasses.dataclass(frozen=True, slots=True)
class FlacHeader:
    """The streaminfo block of a FLAC file.

    Attributes:
        offset: where the marker begins.
        block_samples: samples of a block, where all blocks are equally long.
        largest_frame: bytes of the largest frame; 0 where the header does not say.
        sample_rate_hz: rate of the stream.
        channels: number of channels.
        bits: of a sample.
        samples: samples per channel; 0 where the header does not say.
        numbers: the eight bytes that hold the last four, as one number.
    """

    offset: int
    block_samples: int
    largest_frame: int
    sample_rate_hz: int
    channels: int
    bits: int
    samples: int
    numbers: int

    def with_samples(self, samples: int) -> tuple[int, bytes]:
        """Returns where in the file the header's numbers stand, and the bytes that state another number of samples."""
        numbers = self.numbers & ~_SAMPLES_MASK | samples
        return self.offset + _NUMBERS_AT, numbers.to_bytes(8, "big")


def read_flac_header(file: ClipFile) -> FlacHeader | None:
    """Reads the header of a FLAC file; None if the file is none.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(0)
    offset = skip_id3v2(file.read(10))
    file.seek(offset)
    data = file.read(len(MARKER) + _STREAMINFO_BYTES)
    if not data.startswith(MARKER) or len(data) < len(MARKER) + _STREAMINFO_BYTES:
        return None
    numbers = int.from_bytes(data[_NUMBERS_AT : _NUMBERS_AT + 8], "big")
    return FlacHeader(
        offset,
        int.from_bytes(data[10:12], "big"),
        int.from_bytes(data[15:18], "big"),
        numbers >> 44,
        (numbers >> 41 & 7) + 1,
        (numbers >> 36 & 31) + 1,
        numbers & _SAMPLES_MASK,
        numbers,
    )


def last_sample(file: ClipFile, header: FlacHeader, any_kind: bool = False) -> int | None:
    """Returns the number of the sample behind the last frame of a file, or None if no frame is found at its end.

    Of joined files it is the length of the last one.

    Args:
        file: the FLAC file.
        header: its header.
        any_kind: whether a frame of other channels, rate or bits is the last one too; then the result is -1.

    Raises:
        OSError: the file cannot be read.
    """
    for size in (_SEARCHED_BYTES, _MAX_FRAME_BYTES):
        file.seek(max(0, file.size - size))
        data = file.read()
        place = data.rfind(b"\xff")
        while place >= 0:
            end = _frame_end(data[place : place + 16], header)
            if end is not None:
                return end
            if any_kind and _frame_end(data[place : place + 16], None) is not None:
                return -1
            place = data.rfind(b"\xff", 0, place)
    return None


def is_one_file(file: ClipFile, header: FlacHeader) -> bool:
    """Returns whether the frames of a file are numbered from beginning to end as its header promises.

    A few places are looked at. Files that were joined show numbers that fall, or more bytes than the samples that are left
    can fill; or their last frame is of another kind or number.

    Raises:
        OSError: the file cannot be read.
    """
    if not header.samples or not header.largest_frame or last_sample(file, header, any_kind=True) != header.samples:
        return False
    before = 0
    for share in _PROBED_SHARES:
        file.seek(int(share * file.size))
        data = file.read(_SEARCHED_BYTES)
        place, end = data.find(b"\xff"), None
        while place >= 0 and (end := _frame_end(data[place : place + 16], header)) is None:
            place = data.find(b"\xff", place + 1)
        if end is not None:
            frames_left = 1 + (header.samples - end) / max(header.block_samples, 16)
            bytes_left = file.size - int(share * file.size) - place - _SLACK_BYTES
            if not before <= end <= header.samples or bytes_left > frames_left * header.largest_frame:
                return False
            before = end
    return True


def find_flac_files(path: str, file: ClipFile) -> tuple[str, ...]:
    """Returns the paths of the FLAC files that were joined in one, each as a part of it."""
    starts, offset, before = [], 0, b""
    file.seek(0)
    while data := file.read(_BLOCK_BYTES):
        data = before + data
        place = data.find(MARKER)
        while place >= 0:
            starts.append(offset - len(before) + place)
            place = data.find(MARKER, place + 1)
        offset += len(data) - len(before)
        before = data[-(len(MARKER) - 1) :]
    return part_paths(path, starts, file.size)


def _frame_end(head: bytes, header: FlacHeader | None) -> int | None:
    """Returns the number of the sample behind the frame with this header; None if these bytes are not a frame's header.

    Args:
        head: the bytes.
        header: of the stream; None takes a frame of any stream.
    """
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, channel_code, bits_code = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if size_code == 0 or rate_code == 15 or channel_code > 10 or bits_code == 3:
        return None
    channels = channel_code + 1 if channel_code < 8 else 2
    if header is None and (rate_code not in _RATES_HZ or bits_code not in _BITS):
        return None  # too little to tell it from chance
    if header is not None:
        if channels != header.channels or _BITS.get(bits_code, header.bits) != header.bits:
            return None
        if _RATES_HZ.get(rate_code, header.sample_rate_hz) != header.sample_rate_hz:
            return None
    more = 0  # bytes that go on with the number, whose code is that of UTF-8
    while more < 7 and head[4] & 0x80 >> more:
        more += 1
    if (more in (1, 7) and head[4] != 0xFE) or more > 7:
        return None
    more = max(more - 1, 0)
    number = head[4] & (0x7F >> (more + 1) if more else 0x7F)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    at = 5 + more
    samples = _BLOCK_SIZES.get(size_code, 0)
    if size_code in (6, 7):
        samples = int.from_bytes(head[at : at + size_code - 5], "big") + 1
        at += size_code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    begin = number if head[1] & 1 or header is None else number * header.block_samples
    return begin + samples


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value
