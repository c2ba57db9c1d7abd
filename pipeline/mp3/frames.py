"""Parses MPEG audio frame headers, to find out how much audio an MP3 really holds.

libmpg123 (inside libsndfile) knows an MP3's length only from its Xing/Info frame. Without one it extrapolates the first
frame's bit rate over the file size, and libsndfile then refuses to read past that guess: a variable-rate file silently
loses its end, and a file with a large tag seems longer than it is. Counting the frame headers gives the exact length.

Source: ISO/IEC 11172-3 2.4.1.3 and 13818-3 (header), the Xing/LAME "Info" frame convention, id3.org (ID3v2 size).
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Iterator

_BIT_RATES_KBPS = {
    # (is MPEG-1, layer) -> bit rate by index; 0 is "free format", which no tool here writes.
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# Info frames cut by ffmpeg promise a frame more than can be decoded, and a stream's last frame may be cut short:
# only a shortfall beyond this is a truncated file.
TRUNCATION_TOLERANCE_SECONDS = 0.1
# A frame of the lowest bit rate, 24 bytes for 576 samples: what promises more than this cannot hold it.
MAX_SAMPLES_PER_BYTE = 24
# Of a file that begins with more tags than these, the rest are junk: a file full of empty tags must not take minutes.
MAX_TAGS = 64
DECODER_DELAY_SAMPLES = 529  # that libmpg123 removes where the length is stated
# libmpg123 gives up looking for a frame after this many bytes too.
MAX_JUNK_BYTES = 65536


@dataclasses.dataclass(frozen=True, slots=True)
class FrameHeader:
    """One MPEG audio frame header (4 bytes).

    Attributes:
        version_bits: 3 for MPEG-1, 2 for MPEG-2, 0 for MPEG-2.5.
        layer: 1, 2 or 3.
        bit_rate_kbps: bit rate of the frame.
        sample_rate_hz: sample rate of the stream.
        channels: 1 or 2.
        frame_bytes: length of the frame with its header.
        samples: samples per channel in the frame.
    """

    version_bits: int
    layer: int
    bit_rate_kbps: int
    sample_rate_hz: int
    channels: int
    frame_bytes: int
    samples: int

    @property
    def side_info_bytes(self) -> int:
        """The length of a Layer III frame's side information, after which a Xing/Info tag begins."""
        if self.version_bits == 3:
            return 17 if self.channels == 1 else 32
        return 9 if self.channels == 1 else 17


def parse_header(data: bytes, offset: int = 0) -> FrameHeader | None:
    """Parses the frame header at `offset`; returns None if those 4 bytes are not a frame header."""
    if offset + 4 > len(data) or data[offset] != 0xFF or data[offset + 1] & 0xE0 != 0xE0:
        return None
    second, third, fourth = data[offset + 1], data[offset + 2], data[offset + 3]
    version_bits, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    rate_index, bit_rate_index = third >> 2 & 3, third >> 4
    if version_bits == 1 or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    is_mpeg1 = version_bits == 3
    bit_rate_kbps = _BIT_RATES_KBPS[is_mpeg1, layer][bit_rate_index]
    sample_rate_hz = _SAMPLE_RATES_HZ[version_bits][rate_index]
    padding = third >> 1 & 1
    if layer == 1:
        samples, frame_bytes = 384, (12_000 * bit_rate_kbps // sample_rate_hz + padding) * 4
    else:
        samples = 576 if layer == 3 and not is_mpeg1 else 1152
        frame_bytes = samples // 8 * 1000 * bit_rate_kbps // sample_rate_hz + padding
    channels = 1 if fourth >> 6 == 3 else 2
    return FrameHeader(version_bits, layer, bit_rate_kbps, sample_rate_hz, channels, frame_bytes, samples)


def skip_id3v2(data: bytes) -> int:
    """Returns the offset of the first byte after the ID3v2 tags at the start, of which there may be several."""
    offset = 0
    for _ in range(MAX_TAGS):
        if data[offset : offset + 3] != b"ID3" or offset + 10 > len(data):
            break
        size = 0
        for byte in data[offset + 6 : offset + 10]:  # syncsafe: seven bits a byte
            size = size << 7 | byte & 0x7F
        has_footer = data[offset + 5] & 0x10
        offset += 10 + size + (10 if has_footer else 0)
    return offset


def find_frame(data: bytes, start: int) -> tuple[int, FrameHeader] | None:
    """Finds the next frame from `start` on: one that is followed by a frame of the same stream, or that ends the data.

    Returns:
        The frame's offset and header, or None if there is no frame within the 64 KiB that decoders search.
    """
    end = min(len(data), start + MAX_JUNK_BYTES)
    offset = data.find(0xFF, start, end)
    while offset >= 0:
        header = parse_header(data, offset)
        if header is not None:
            successor = parse_header(data, offset + header.frame_bytes)
            if offset + header.frame_bytes == len(data) or (successor and is_same_stream(header, successor)):
                return offset, header
        offset = data.find(0xFF, offset + 1, end)
    return None


def has_length_tag(data: bytes, offset: int, header: FrameHeader) -> bool:
    """Returns whether the frame at `offset` is a Xing, Info or VBRI frame, which states the number of frames."""
    tag = offset + 4 + header.side_info_bytes
    return data[tag : tag + 4] in (b"Xing", b"Info") or data[offset + 36 : offset + 40] == b"VBRI"


def delay_samples(info_frame: bytes, counts_offset: int) -> int | None:
    """Returns how many samples libmpg123 removes from the beginning of a stream, after its Info frame.

    Args:
        info_frame: an Info or Xing frame that states the number of frames.
        counts_offset: where in it the number of frames stands.

    Returns:
        The delay of decoder and encoder; None if the frame holds sound, so that libmpg123 takes it for one of the stream's.
    """
    if any(info_frame[6 : counts_offset - 8]):
        return None
    flags = info_frame[counts_offset - 1]
    at = counts_offset + sum(size for bit, size in enumerate((4, 4, 100, 4)) if flags >> bit & 1)
    # The encoder's name, and 21 bytes behind its beginning the delay, 12 bits; as libmpg123 reads them.
    if at + 24 > len(info_frame) or not info_frame[at]:
        return DECODER_DELAY_SAMPLES
    return DECODER_DELAY_SAMPLES + (info_frame[at + 21] << 4 | info_frame[at + 22] >> 4)


def walk(data: bytes, offset: int, header: FrameHeader) -> Iterator[int]:
    """Yields the offset of each frame of a run that starts at `offset`, and at last the offset where the run ends.

    All frames of a run have the same version, layer, rate and number of channels.
    """
    yield offset
    last = len(data) - 4
    if offset > last:
        return
    # All that varies within a stream is the third byte (bit rate and padding): one look-up a frame, 0.3 us.
    second, is_mono = data[offset + 1], header.channels == 1
    frame_bytes = frame_lengths(second, header.sample_rate_hz)
    while offset <= last and data[offset] == 0xFF and (data[offset + 1] ^ second) & 0xFE == 0:
        if (data[offset + 3] >= 0xC0) != is_mono:
            break
        size = frame_bytes[data[offset + 2]]
        if size == 0 or offset + size > len(data):
            break
        offset += size
        yield offset


@functools.lru_cache(maxsize=32)
def frame_lengths(second: int, sample_rate_hz: int) -> tuple[int, ...]:
    """Returns the lengths of a stream's frames.

    Args:
        second: second byte of a frame's header.
        sample_rate_hz: of the stream.

    Returns:
        The length in bytes for each third byte of a header, 0 where such a frame is not of the stream.
    """
    parsed = (parse_header(bytes((0xFF, second, third, 0))) for third in range(256))
    return tuple(p.frame_bytes if p is not None and p.sample_rate_hz == sample_rate_hz else 0 for p in parsed)


def info_frame(header: FrameHeader, frame_count: int) -> bytes:
    """Builds an Info frame, an empty Layer III frame that states a number of frames, to put before a stream without one.

    Args:
        header: the header of a frame of the stream.
        frame_count: the number of frames to state.

    Raises:
        ValueError: no bit rate gives a frame that is long enough.
    """
    tag = b"Info" + struct.pack(">II", 1, frame_count)  # flags: only the number of frames follows
    at = 4 + header.side_info_bytes
    frame = empty_frame(header, at + len(tag))
    return frame[:at] + tag + frame[at + len(tag) :]


def empty_frame(header: FrameHeader, min_bytes: int) -> bytes:
    """Builds a Layer III frame of silence: the shortest of a stream that has so many bytes; all but its header are zeros.

    Args:
        header: the header of a frame of the stream.
        min_bytes: how long the frame must be at least.

    Raises:
        ValueError: no bit rate gives a frame that is long enough.
    """
    rates = _BIT_RATES_KBPS[header.version_bits == 3, 3]
    rate_index = _SAMPLE_RATES_HZ[header.version_bits].index(header.sample_rate_hz)
    channel_bits = 0xC0 if header.channels == 1 else 0x00
    for bit_rate_index in range(1, len(rates)):
        head = bytes((0xFF, 0xE3 | header.version_bits << 3, bit_rate_index << 4 | rate_index << 2, channel_bits))
        parsed = parse_header(head)
        if parsed is not None and parsed.frame_bytes >= min_bytes:
            return head.ljust(parsed.frame_bytes, b"\0")
    raise ValueError(f"no bit rate gives a frame of {min_bytes} bytes for {header}")


def is_same_stream(a: FrameHeader, b: FrameHeader) -> bool:
    """Returns whether two frames have the same version, layer and rate; bit rate and channels may differ."""
    return (a.version_bits, a.layer, a.sample_rate_hz) == (b.version_bits, b.layer, b.sample_rate_hz)
