"""Writes MPEG-1 Layer III streams of chosen side information and values, such as encoders seldom write or never.

Source: ISO/IEC 11172-3 2.4.1 (syntax), 2.4.2.7 (scale factors), table B.7 (codes).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.native.codes import read_codes

RATES_HZ = (44100, 48000, 32000)
BIT_RATES_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
STEREO, JOINT, DUAL, MONO = range(4)
LINBITS = (0,) * 16 + (1, 2, 3, 4, 6, 8, 10, 13, 4, 5, 6, 7, 8, 9, 11, 13)
LARGEST = (0, 1, 2, 2, 0, 3, 3, 5, 5, 5, 7, 7, 7, 15, 0, 15) + (
    15,
) * 16  # value without linbits; 4 and 14 do not exist
_SLEN = ((0, 0, 0, 0, 3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4), (0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 3))
_SCFSI_BANDS = (range(6), range(6, 11), range(11, 16), range(16, 21))


@dataclasses.dataclass
class Part:
    """What a granule has of one channel; names as in the standard.

    Attributes:
        values: quantized values, in the order in which they are coded; those behind the last one are 0.
        pairs: big_values; None: as many as the values take that are not -1, 0 or 1.
        tables: table_select; two of them where the block is not a long one.
        regions: region0_count and region1_count.
        scale_factors: as many as the block has; those that scfsi leaves out are not written.
        scfsi: four bits; of the second granule alone.
        spare_bits: bits of 0 behind the values that part2_3_length counts; if negative, bits that it leaves out.
    """

    values: Sequence[int] = ()
    pairs: int | None = None
    tables: tuple[int, ...] = (24, 24, 24)
    regions: tuple[int, int] = (7, 7)
    count1_table: int = 0
    global_gain: int = 170
    scalefac_compress: int = 0
    scale_factors: Sequence[int] = ()
    scalefac_scale: int = 0
    preflag: int = 0
    block_type: int = 0
    mixed: int = 0
    subblock_gain: tuple[int, int, int] = (0, 0, 0)
    scfsi: int = 0
    spare_bits: int = 0


@dataclasses.dataclass
class Frame:
    """A frame.

    Attributes:
        parts: of two granules, each of one or two channels.
        mode: STEREO, JOINT, DUAL or MONO.
        mode_extension: of JOINT: 1 for intensity stereo, 2 for mid/side.
        has_crc: whether a checksum follows the header.
    """

    parts: Sequence[Sequence[Part]]
    mode: int = STEREO
    mode_extension: int = 0
    bit_rate_kbps: int = 320
    has_crc: bool = False
    padding: int = 0


class Bits:
    """A string of bits."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def add(self, value: int, count: int) -> None:
        assert 0 <= value < 1 << count, (value, count)
        if count:
            self.text.append(f"{value:0{count}b}")

    def __str__(self) -> str:
        return "".join(self.text)


@functools.cache
def table_codes(select: int) -> list[tuple[int, int]]:
    """The codes of a table by the number of their values."""
    for name, codes in read_codes().items():
        lowest, _, highest = name.partition("-")
        if name not in "AB" and int(lowest) <= select <= int(highest or lowest):
            return codes
    raise ValueError(f"no table {select}")


def count_pairs(values: Sequence[int]) -> int:
    """The pairs up to the last value that four at a time cannot code."""
    big = [place for place, value in enumerate(values) if abs(value) > 1]
    pairs = (big[-1] // 2 + 1) if big else 0
    return pairs


def write_values(part: Part, long_edges: Sequence[int]) -> str:
    """Codes the values."""
    values = [*part.values, *([0] * (580 - len(part.values)))]
    pairs = count_pairs(part.values) if part.pairs is None else part.pairs
    ends = (36, 576) if part.block_type else _region_ends(part.regions, long_edges)
    bits = Bits()
    for place in range(0, 2 * pairs, 2):
        select = part.tables[0 if place < ends[0] else 1 if place < ends[1] else 2]
        if select == 0:
            assert not any(values[place : place + 2])
            continue
        codes, linbits = table_codes(select), LINBITS[select]
        side = round(len(codes) ** 0.5)
        x, y = (min(abs(value), 15 if linbits else side - 1) for value in values[place : place + 2])
        bits.add(*codes[side * x + y])
        for small, value in zip((x, y), values[place : place + 2], strict=True):
            if linbits and small == 15:
                bits.add(abs(value) - 15, linbits)
            else:
                assert small == abs(value), f"{value} in table {select}"
            if value:
                bits.add(int(value < 0), 1)
    last = max((place for place, value in enumerate(values) if value), default=-1)
    for place in range(2 * pairs, last + 1, 4):
        four = values[place : place + 4]
        bits.add(*read_codes()["AB"[part.count1_table]][sum(abs(v) << 3 - n for n, v in enumerate(four))])
        for value in four:
            if value:
                bits.add(int(value < 0), 1)
    return str(bits)


def write_stream(frames: Sequence[Frame], rate_hz: int, use_reservoir: bool = True) -> bytes:
    """Joins frames to a stream: the bits of each begin as early as the reservoir allows.

    Raises:
        ValueError: the bits of a frame do not fit.
    """
    heads, mains, sizes, begins = [], [], [], []
    end = own = 0  # where the bits of the last frame end, and where those of this one may begin at the earliest
    for number, frame in enumerate(frames):
        side, main = _write_frame(frame, rate_hz)
        header = bytes((0xFF, 0xFA | (not frame.has_crc),
                        BIT_RATES_KBPS.index(frame.bit_rate_kbps) + 1 << 4 | RATES_HZ.index(rate_hz) << 2 | frame.padding << 1,
                        frame.mode << 6 | frame.mode_extension << 4))  # fmt: skip
        parsed = mp3_frames.parse_header(header)
        assert parsed is not None
        head_bytes = 4 + 2 * frame.has_crc + parsed.side_info_bytes
        size = parsed.frame_bytes - head_bytes
        begin = max(end, own - 511) if use_reservoir else own
        end = begin + len(main)
        if end > own + size:
            raise ValueError(f"frame {number}: {len(main)} bytes, of which {own + size - begin} fit")
        side_bits = f"{own - begin:09b}" + side
        side_bytes = int(side_bits, 2).to_bytes(parsed.side_info_bytes, "big")
        crc = _crc(header[2:] + side_bytes).to_bytes(2, "big") if frame.has_crc else b""
        heads.append(header + crc + side_bytes)
        mains.append(main)
        begins.append(begin)
        sizes.append(size)
        own += size
    pool = bytearray(own)
    for begin, main in zip(begins, mains, strict=True):
        pool[begin : begin + len(main)] = main
    stream, at = b"", 0
    for head, size in zip(heads, sizes, strict=True):
        stream += head + pool[at : at + size]
        at += size
    return stream


def _region_ends(regions: tuple[int, int], long_edges: Sequence[int]) -> tuple[int, int]:
    first = regions[0] + 1
    return long_edges[first], long_edges[min(first + regions[1] + 1, 22)]


def _write_frame(frame: Frame, rate_hz: int) -> tuple[str, bytes]:
    """The side information behind main_data_begin, and the main data."""
    from pipeline.mp3.native.bands import band_edges

    edges = band_edges(rate_hz)
    assert edges is not None
    side, main = Bits(), []
    channels = 1 if frame.mode == MONO else 2
    side.add(0, 5 if channels == 1 else 3)
    for channel in range(channels):
        side.add(frame.parts[1][channel].scfsi, 4)
    for granule, parts in enumerate(frame.parts):
        assert len(parts) == channels
        for part in parts:
            bits = _write_scale_factors(part, granule) + write_values(part, [int(edge) for edge in edges[0]])
            bits = bits + "0" * part.spare_bits if part.spare_bits >= 0 else bits[: part.spare_bits]
            _write_side(side, part, len(bits))
            main.append(bits)
    text = "".join(main)
    text += "0" * (-len(text) % 8)
    return str(side), int(text or "0", 2).to_bytes(len(text) // 8, "big")


def _write_side(side: Bits, part: Part, length: int) -> None:
    for value, count in (
        (length, 12),
        (count_pairs(part.values) if part.pairs is None else part.pairs, 9),
        (part.global_gain, 8),
        (part.scalefac_compress, 4),
        (int(part.block_type != 0), 1),
    ):
        side.add(value, count)
    if part.block_type:
        fields = [(part.block_type, 2), (part.mixed, 1), *((select, 5) for select in part.tables[:2])]
        fields += [(gain, 3) for gain in part.subblock_gain]
    else:
        fields = [*((select, 5) for select in part.tables), (part.regions[0], 4), (part.regions[1], 3)]
    for value, count in (*fields, (part.preflag, 1), (part.scalefac_scale, 1), (part.count1_table, 1)):
        side.add(value, count)


def _write_scale_factors(part: Part, granule: int) -> str:
    bits = Bits()
    lower_bits, upper_bits = (slen[part.scalefac_compress] for slen in _SLEN)
    lower, count = 11, 21
    if part.block_type == 2:
        lower, count = (17, 35) if part.mixed else (18, 36)
    factors = [*part.scale_factors, *([0] * (count - len(part.scale_factors)))]
    for number, factor in enumerate(factors):
        group = next((n for n, bands in enumerate(_SCFSI_BANDS) if number in bands), 0)
        is_kept = granule == 1 and part.block_type != 2 and part.scfsi >> 3 - group & 1
        if not is_kept:
            bits.add(factor, lower_bits if number < lower else upper_bits)
    return str(bits)


def _crc(data: bytes) -> int:
    """CRC-16 of the last two bytes of the header and of the side information (11172-3 2.4.3.1)."""
    value = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            flip = (value >> 15 ^ byte >> bit) & 1
            value = value << 1 & 0xFFFF ^ (0x8005 if flip else 0)
    return value
