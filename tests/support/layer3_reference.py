"""Layer III decoded as the standard describes it, in float64 and without any thought of speed: the kernels' right answer.

Source: ISO/IEC 11172-3 2.4.1.7 to 2.4.3.4; numbers are those of its clauses and tables.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from support.layer3_writer import LINBITS, table_codes

from pipeline.mp3 import frames as mp3_frames
from pipeline.mp3.native.bands import band_edges
from pipeline.mp3.native.codes import read_codes
from pipeline.mp3.native.synthesis import window

_SLEN = ((0, 0, 0, 0, 3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4), (0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 3))
_PRETAB = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 0)
_ALIAS = (-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037)


class BitReader:
    """Takes bits off a text of zeros and ones; behind its end there are zeros."""

    def __init__(self, text: str):
        self.text, self.place = text, 0

    def take(self, count: int) -> int:
        piece = self.text[self.place : self.place + count].ljust(count, "0")
        self.place += count
        return int(piece, 2) if piece else 0


@dataclasses.dataclass
class Side:
    """The side information of a granule and channel."""

    length: int
    pairs: int
    gain: int
    compress: int
    block_type: int
    mixed: int
    tables: tuple[int, ...]
    ends: tuple[int, int]
    subblock_gain: tuple[int, ...]
    preflag: int
    scale: int
    count1_table: int
    scfsi: int


def bits_of(data: bytes) -> str:
    return f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""


def read_side(bits: BitReader, channels: int, rate_hz: int) -> tuple[int, list[list[Side]]]:
    """main_data_begin, and [granule][channel]."""
    edges = band_edges(rate_hz)
    assert edges is not None
    begin = bits.take(9)
    bits.take(5 if channels == 1 else 3)
    scfsi = [bits.take(4) for _ in range(channels)]
    granules = []
    for granule in range(2):
        sides = []
        for channel in range(channels):
            length, pairs, gain, compress, switch = (bits.take(count) for count in (12, 9, 8, 4, 1))
            block_type = mixed = 0
            subblock_gain: tuple[int, ...] = (0, 0, 0)
            if switch:
                block_type, mixed = bits.take(2), bits.take(1)
                tables: tuple[int, ...] = tuple(bits.take(5) for _ in range(2))
                subblock_gain = tuple(bits.take(3) for _ in range(3))
                ends = (36, 576)
            else:
                tables = tuple(bits.take(5) for _ in range(3))
                first = bits.take(4) + 1
                second = first + bits.take(3) + 1
                ends = (int(edges[0][first]), int(edges[0][min(second, 22)]))
            preflag, scale, count1_table = (bits.take(1) for _ in range(3))
            sides.append(
                Side(length, pairs, gain, compress, block_type, mixed, tables, ends, subblock_gain, preflag, scale,
                     count1_table, scfsi[channel] if granule else 0)
            )  # fmt: skip
        granules.append(sides)
    return begin, granules


def read_factors(bits: BitReader, side: Side, before: list[int]) -> list[int]:
    """Scale factors: 21 of long bands; or 12 bands of three windows; of a mixed block 8 and 9 of three."""
    lower, upper = _SLEN[0][side.compress], _SLEN[1][side.compress]
    if side.block_type == 2:
        count = 35 if side.mixed else 36
        return [bits.take(lower if number < count - 18 else upper) for number in range(count)]
    factors = []
    for band in range(21):
        group = 0 if band < 6 else 1 if band < 11 else 2 if band < 16 else 3
        is_kept = side.scfsi >> (3 - group) & 1
        factors.append(before[band] if is_kept else bits.take(lower if band < 11 else upper))
    return factors


def read_huffman(bits: BitReader, side: Side, end: int) -> list[int]:
    """576 values, each code found by trying longer and longer ones; of the last four, those whose bits are there."""
    values: list[int] = []
    while len(values) < 2 * side.pairs:
        place = len(values)
        select = side.tables[0 if place < side.ends[0] else 1 if place < side.ends[1] else 2]
        if select == 0:
            values += [0, 0]
            continue
        codes = table_codes(select)
        number = _walk(bits, codes)
        for value in divmod(number, round(len(codes) ** 0.5)):
            if value == 15 and LINBITS[select]:
                value += bits.take(LINBITS[select])
            values.append(-value if value and bits.take(1) else value)
    while len(values) <= 572 and bits.place < end:
        number = _walk(bits, read_codes()["AB"[side.count1_table]])
        if bits.place > end:
            break
        four = []
        for shift in (3, 2, 1, 0):
            value = number >> shift & 1
            if value and bits.place >= end:
                break
            four.append(-value if value and bits.take(1) else value)
        values += four
        if len(four) < 4:
            break
    return [*values, *([0] * (576 - len(values)))][:576]


def _walk(bits: BitReader, codes: list[tuple[int, int]]) -> int:
    by_code = {(code, length): number for number, (code, length) in enumerate(codes)}
    code = length = 0
    while (code, length) not in by_code:
        code, length = code << 1 | bits.take(1), length + 1
        assert length < 32, "no such code"
    return by_code[code, length]


def requantize(values: list[int], side: Side, factors: list[int], rate_hz: int) -> np.ndarray:
    """2.4.3.4.7.1, and the reordering of short blocks: float64 [576], ordered by frequency."""
    edges = band_edges(rate_hz)
    assert edges is not None
    long_edges, short_edges = ([int(edge) for edge in group] for group in edges)
    step = 1.0 if side.scale else 0.5
    power = np.sign(values) * np.abs(np.array(values, float)) ** (4 / 3)
    lines = np.zeros(576)
    is_short = side.block_type == 2
    long_bands = 22 if not is_short else 8 if side.mixed else 0
    for band in range(long_bands):
        factor = (factors[band] if band < 21 else 0) + side.preflag * _PRETAB[band]
        span = slice(long_edges[band], long_edges[band + 1])
        lines[span] = power[span] * 2.0 ** ((side.gain - 210) / 4) * 2.0 ** (-step * factor)
    if is_short:
        place = long_edges[long_bands]
        for band in range(3 if side.mixed else 0, 13):
            width = short_edges[band + 1] - short_edges[band]
            for number in range(3):
                at = long_bands + 3 * (band - (3 if side.mixed else 0)) + number
                factor = factors[at] if band < 12 else 0
                gain = 2.0 ** ((side.gain - 210 - 8 * side.subblock_gain[number]) / 4) * 2.0 ** (-step * factor)
                for line in range(width):
                    lines[3 * short_edges[band] + 3 * line + number] = power[place] * gain
                    place += 1
    return lines


def reduce_alias(lines: np.ndarray, block_type: int, mixed: int) -> np.ndarray:
    """2.4.3.4.10.1: butterflies between neighbouring subbands."""
    lines = lines.copy()
    for band in range(1, 32):
        if block_type == 2 and not (mixed and band == 1):
            continue
        for number, c in enumerate(_ALIAS):
            keep, cross = 1 / np.sqrt(1 + c * c), c / np.sqrt(1 + c * c)
            low, high = lines[18 * band - 1 - number], lines[18 * band + number]
            lines[18 * band - 1 - number], lines[18 * band + number] = (
                low * keep - high * cross,
                high * keep + low * cross,
            )
    return lines


def inverse_mdct(lines: np.ndarray, block_type: int) -> np.ndarray:
    """2.4.3.4.10.2 and 3: 18 lines of a subband to 36 windowed samples."""
    if block_type == 2:
        result = np.zeros(36)
        i, k = np.arange(12)[:, None], np.arange(6)
        for number in range(3):
            samples = np.cos(np.pi / 24 * (2 * i + 1 + 6) * (2 * k + 1)) @ lines[number::3]
            result[6 + 6 * number : 18 + 6 * number] += samples * np.sin(np.pi / 12 * (np.arange(12) + 0.5))
        return result
    i, k = np.arange(36)[:, None], np.arange(18)
    samples = np.cos(np.pi / 72 * (2 * i + 1 + 18) * (2 * k + 1)) @ lines
    return samples * np.array([_window(block_type, n) for n in range(36)])


def _window(block_type: int, i: int) -> float:
    if block_type == 3:
        return 1.0 * _window(1, 35 - i)  # the stop window is the start window backwards
    if block_type == 0 or i < 18:
        return float(np.sin(np.pi / 36 * (i + 0.5)))
    return 1.0 if i < 24 else float(np.sin(np.pi / 12 * (i - 18 + 0.5))) if i < 30 else 0.0


class Channel:
    """The overlap and the filterbank of one channel."""

    def __init__(self) -> None:
        self.overlap = np.zeros((32, 18))
        self.v = np.zeros(1024)

    def hybrid(self, lines: np.ndarray, block_type: int, mixed: int) -> np.ndarray:
        """[18 slots, 32 subbands]."""
        lines = reduce_alias(lines, block_type, mixed)
        slots = np.zeros((18, 32))
        for band in range(32):
            kind = 0 if mixed and band < 2 else block_type
            samples = inverse_mdct(lines[18 * band : 18 * band + 18], kind)
            slots[:, band] = self.overlap[band] + samples[:18]
            self.overlap[band] = samples[18:]
            if band % 2:
                slots[1::2, band] *= -1
        return slots

    def synthesize(self, slots: np.ndarray) -> np.ndarray:
        """Figure A.2 of annex A: 32 samples a slot, by the 512 coefficients D."""
        i, k = np.arange(64)[:, None], np.arange(32)
        matrix = np.cos((16 + i) * (2 * k + 1) * np.pi / 64)
        d = window() * np.repeat([1, -1] * 4, 64)  # the signs of table B.11
        result = []
        for slot in slots:
            self.v = np.concatenate([matrix @ slot, self.v[:-64]])
            u = np.concatenate(
                [
                    np.concatenate([self.v[128 * n : 128 * n + 32], self.v[128 * n + 96 : 128 * n + 128]])
                    for n in range(8)
                ]
            )
            result.append((u * d).reshape(16, 32).sum(axis=0))
        return np.concatenate(result)


def decode_stream(data: bytes) -> np.ndarray:
    """A whole stream without intensity stereo, float64 [samples, channels]."""
    header = mp3_frames.parse_header(data)
    assert header is not None
    channels = [Channel() for _ in range(header.channels)]
    before = [[0] * 39 for _ in channels]
    pool, result = "", []
    places = list(mp3_frames.walk(data, 0, header))
    for place, end in itertools.pairwise(places):
        head = 4 if data[place + 1] & 1 else 6
        main = place + head + header.side_info_bytes
        begin, granules = read_side(
            BitReader(bits_of(data[place + head : main])), header.channels, header.sample_rate_hz
        )
        start = len(pool) - 8 * begin
        pool += bits_of(data[main:end])
        bits = BitReader(pool)
        bits.place = start
        is_mid_side = data[place + 3] >> 6 == 1 and data[place + 3] >> 5 & 1
        for sides in granules:
            lines = []
            for channel, side in enumerate(sides):
                stop = bits.place + side.length
                if side.length:
                    before[channel] = read_factors(bits, side, before[channel])
                    values = read_huffman(bits, side, stop)
                    lines.append(requantize(values, side, before[channel], header.sample_rate_hz))
                else:
                    lines.append(np.zeros(576))
                bits.place = stop
            if is_mid_side:
                lines = [(lines[0] + lines[1]) / np.sqrt(2), (lines[0] - lines[1]) / np.sqrt(2)]
            result.append(
                np.stack(
                    [
                        channel.synthesize(channel.hybrid(line, side.block_type, side.mixed))
                        for channel, line, side in zip(channels, lines, sides, strict=True)
                    ],
                    axis=1,
                )
            )
    return np.concatenate(result)
