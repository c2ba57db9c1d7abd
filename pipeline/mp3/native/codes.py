"""Builds look-up tables for Huffman decoding from the codes of the standard (11172-3 table B.7, in `huffman_codes.txt`).

One look-up by the next eleven bits finds a pair of values with their signs, where those bits hold all of it. Else it finds the
values without signs, or a second table by the bits that follow. Where values are not wanted, but only where they end, one
look-up skips as many pairs as the eleven bits hold.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

LOOK_BITS = 11
# The values of an entry of the first table, uint16: a whole pair is its number of bits, 5 bits of x + 16, and of y + 16;
# unsigned values are PARTIAL + number of bits + 4 bits each; LINK is the number of a second table.
PARTIAL, LINK = 1 << 14, 2 << 14
_LINBITS = (0,) * 16 + (1, 2, 3, 4, 6, 8, 10, 13, 4, 5, 6, 7, 8, 9, 11, 13)

Code = tuple[int, int]  # its bits as a number, and how many


class Tables(NamedTuple):
    """What the kernel looks up; every length is a power of two, so that a mask keeps any index inside.

    Attributes:
        first: uint16 [tables * 2048].
        begin: where in `first` each of the 32 tables begins, int32; -1 for one that the standard does not define.
        linbits: bits that a value of 15 is followed by in each of the 32 tables, int32.
        second: uint16, entries like those with `PARTIAL`, without it.
        second_begin: where in `second` each second table begins, int32.
        second_bits: by how many bits it is looked up, int32.
        skipped: uint16 [tables * 2048], like `first`: the pairs that end within the bits, times 256, and their number of bits.
        quads: uint16 [2 * 2048], for count1 tables A and B: number of bits with signs, and 2 bits each of four values + 1.
    """

    first: np.ndarray
    begin: np.ndarray
    linbits: np.ndarray
    second: np.ndarray
    second_begin: np.ndarray
    second_bits: np.ndarray
    skipped: np.ndarray
    quads: np.ndarray


def read_codes() -> dict[str, list[Code]]:
    """Reads the codes by the name of their tables: "1", "16-23", "A"; in the order of the values."""
    text = Path(__file__).with_name("huffman_codes.txt").read_text("ascii")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: [(int(code[1:], 16), int(code[0], 36)) for code in codes] for name, *codes in lines}


@functools.cache
def build_tables() -> Tables:
    """Builds the tables."""
    codes = read_codes()
    first = [np.full(1 << LOOK_BITS, 16 << 5 | 16, np.uint16)]  # table 0: all values are 0 and take no bits
    begin = np.full(32, -1, np.int32)
    begin[0] = 0
    second: list[int] = []
    second_begin: list[int] = []
    second_bits: list[int] = []
    for name in codes:
        if name in "AB":
            continue
        lowest, _, highest = name.partition("-")
        begin[int(lowest) : int(highest or lowest) + 1] = len(first) << LOOK_BITS
        table, side = np.zeros(1 << LOOK_BITS, np.uint16), round(len(codes[name]) ** 0.5)
        longer: dict[int, list[tuple[Code, int, int]]] = {}
        for number, code in enumerate(codes[name]):
            x, y = divmod(number, side)
            if code[1] > LOOK_BITS:
                rest = code[1] - LOOK_BITS
                longer.setdefault(code[0] >> rest, []).append(((code[0] & (1 << rest) - 1, rest), x, y))
            else:
                _enter_pair(table, code, x, y, has_linbits=int(lowest) >= 16)
        for prefix, entries in longer.items():
            table[prefix] = LINK | len(second_begin)
            second_begin.append(len(second))
            second_bits.append(max(code[1] for code, _, _ in entries))
            second += _second_table(entries, second_bits[-1])
        first.append(table)
    return Tables(
        _power_of_two(np.concatenate(first)),
        begin,
        np.array(_LINBITS, np.int32),
        _power_of_two(np.array(second, np.uint16)),
        _power_of_two(np.array(second_begin, np.int32)),
        _power_of_two(np.array(second_bits, np.int32)),
        np.concatenate([_skip_table(table) for table in first]),
        np.concatenate([_quad_table(codes["A"]), _quad_table(codes["B"])]),
    )


def _enter_pair(table: np.ndarray, code: Code, x: int, y: int, has_linbits: bool) -> None:
    bits, length = code
    signs = (x > 0) + (y > 0)
    if length + signs > LOOK_BITS or (has_linbits and 15 in (x, y)):
        _spread(table, bits, length, PARTIAL | length << 10 | x << 4 | y, LOOK_BITS)
        return
    for sign_bits in range(1 << signs):
        left = signs
        signed = [x, y]
        for place in range(2):
            if signed[place]:
                left -= 1
                if sign_bits >> left & 1:
                    signed[place] *= -1
        entry = length + signs << 10 | signed[0] + 16 << 5 | signed[1] + 16
        _spread(table, bits << signs | sign_bits, length + signs, entry, LOOK_BITS)


def _second_table(entries: list[tuple[Code, int, int]], look_bits: int) -> list[int]:
    table = np.zeros(1 << look_bits, np.uint16)
    for (bits, length), x, y in entries:
        _spread(table, bits, length, length << 10 | x << 4 | y, look_bits)
    return [int(entry) for entry in table]


def _skip_table(first: np.ndarray) -> np.ndarray:
    """Follows the pairs of a first table as far as the bits go."""
    size = 1 << LOOK_BITS
    bits, used, pairs = np.arange(size), np.zeros(size, np.int64), np.zeros(size, np.int64)
    is_held = np.full(size, bool(first[0] >> LOOK_BITS - 1))  # the pairs of table 0 take no bits, and are not counted
    while is_held.any():
        entry = first[bits << used & size - 1].astype(np.int64)
        is_held &= (entry < PARTIAL) & (used + (entry >> 10) <= LOOK_BITS)
        used += np.where(is_held, entry >> 10, 0)
        pairs += is_held
    return (pairs << 8 | used).astype(np.uint16)


def _quad_table(codes: list[Code]) -> np.ndarray:
    table = np.zeros(1 << LOOK_BITS, np.uint16)
    for number, (bits, length) in enumerate(codes):
        places = [place for place in range(4) if number >> (3 - place) & 1]  # of the values that are not 0
        for sign_bits in range(1 << len(places)):
            values = [0, 0, 0, 0]
            for nth, place in enumerate(places):
                values[place] = -1 if sign_bits >> (len(places) - 1 - nth) & 1 else 1
            entry = length + len(places) << 8
            for place, value in enumerate(values):
                entry |= value + 1 << 6 - 2 * place
            _spread(table, bits << len(places) | sign_bits, length + len(places), entry, LOOK_BITS)
    return table


def _spread(table: np.ndarray, bits: int, length: int, entry: int, look_bits: int) -> None:
    """Enters a code at every index that begins with it."""
    free = look_bits - length
    table[bits << free : bits + 1 << free] = entry


def _power_of_two(values: np.ndarray) -> np.ndarray:
    return np.pad(values, (0, (1 << (len(values) - 1).bit_length()) - len(values)))
