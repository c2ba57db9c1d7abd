"""Values by look-up tables against codes that are followed bit by bit."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from fuzz.checked_numba import ENVIRONMENT
from support.layer3_reference import BitReader, Side, read_huffman
from support.layer3_writer import LARGEST, LINBITS, Part, write_values
from support.native_streams import TABLES, largest_values
from support.places import ROOT

from pipeline.mp3.native import codes, huffman, lines, side_info
from pipeline.mp3.native.bands import band_edges

EDGES = [int(edge) for edge in band_edges(44100)[0]]
ENDS = (EDGES[8], EDGES[16])


def words_of_text(text: str) -> np.ndarray:
    padded = text + "0" * (-len(text) % 32) + "0" * 32 * 600
    return np.array([int(padded[at : at + 32], 2) for at in range(0, len(padded), 32)], np.uint64)


def parameters(part: Part, pairs: int) -> np.ndarray:
    row = np.zeros(side_info.PARAMETERS, np.int32)
    row[side_info.BIG_VALUES] = pairs
    row[side_info.TABLE_SELECT : side_info.TABLE_SELECT + 3] = part.tables
    row[side_info.REGION_END : side_info.REGION_END + 2] = ENDS
    row[side_info.COUNT1TABLE_SELECT] = part.count1_table
    return row


def read(part: Part, text: str, pairs: int, limit: int = 576, offset: int = 0) -> tuple[int, np.ndarray]:
    """By the kernel: how many values there are, and them."""
    values = np.full(huffman.VALUES, 99, np.int16)
    words = words_of_text("1" * offset + text)
    count = huffman.read_values(words, offset, offset + len(text), parameters(part, pairs), limit, values)
    return count, values


def by_walking(part: Part, text: str, pairs: int) -> list[int]:
    side = Side(len(text), pairs, 0, 0, 0, 0, part.tables, ENDS, (0, 0, 0), 0, 0, part.count1_table, 0)
    return read_huffman(BitReader(text), side, len(text))


@pytest.mark.parametrize("name", list(codes.read_codes()))
def test_codes_fill_the_tree(name: str):
    """No code begins with another one, and (but for the rests that table B.7 leaves) every row of bits is one."""
    table = codes.read_codes()[name]
    texts = sorted(f"{code:0{length}b}" for code, length in table if length)
    assert not any(second.startswith(first) for first, second in itertools.pairwise(texts))
    assert 1 - sum(2.0**-length for _, length in table if length) == pytest.approx(0, abs=2.0**-10) or name == "0"


@pytest.mark.parametrize("select", TABLES)
def test_every_table(select: int, rng):
    for offset in (0, 7, 31, 45):
        part = Part(values=largest_values(select, 288, rng), tables=(select,) * 3, regions=(7, 7))
        text = write_values(Part(**{**vars(part), "pairs": 288}), EDGES)
        count, values = read(part, text, 288, offset=offset)
        assert count == 576
        np.testing.assert_array_equal(values[:576], part.values)
        assert by_walking(part, text, 288) == part.values


def mixed_part(rng: np.random.Generator) -> tuple[Part, int]:
    """Three tables and four values at a time."""
    tables = tuple(int(select) for select in rng.choice([0, *TABLES], 3))
    pairs = int(rng.integers(0, 289))
    values: list[int] = []
    for place in range(2 * pairs):
        select = tables[0 if place < ENDS[0] else 1 if place < ENDS[1] else 2]
        most = min(LARGEST[select] + (1 << LINBITS[select]) - 1, 40)
        values.append(int(rng.integers(-most, most + 1)) * int(rng.random() < 0.7))
    small = int(rng.integers(0, (576 - 2 * pairs) // 4 + 1)) * 4
    values += rng.integers(-1, 2, small).tolist()
    return Part(values=values, pairs=pairs, tables=tables, count1_table=int(rng.integers(2))), pairs


def test_regions_and_fours(rng):
    for _ in range(40):
        part, pairs = mixed_part(rng)
        text = write_values(part, EDGES)
        count, values = read(part, text, pairs)
        expected = np.pad(part.values, (0, 580 - len(part.values)))
        np.testing.assert_array_equal(values[:count], expected[:count])
        assert not expected[count:].any()


def test_values_above_the_limit_are_only_checked(rng):
    for _ in range(40):
        part, pairs = mixed_part(rng)
        text, limit = write_values(part, EDGES), int(rng.integers(0, 289)) * 2
        count, values = read(part, text, pairs, limit)
        assert 0 <= count <= limit
        expected = np.pad(part.values, (0, 580 - len(part.values)))
        np.testing.assert_array_equal(values[:count], expected[:count])
        assert not expected[count:limit].any()
        if pairs:
            without = write_values(Part(**{**vars(part), "values": part.values[: 2 * pairs]}), EDGES)
            assert read(part, without, pairs, limit)[0] >= 0
            assert not without or read(part, without[:-1], pairs, limit)[0] == -1


def test_fours_that_end_behind_their_bits(rng):
    """As libmpg123 reads them: those of the last four whose bits are there."""
    for _ in range(25):
        part, pairs = mixed_part(rng)
        whole = write_values(part, EDGES)
        least = len(write_values(Part(**{**vars(part), "values": part.values[: 2 * pairs]}), EDGES))
        for length in range(least, min(len(whole), least + 12) + 1):
            expected = by_walking(part, whole[:length], pairs)
            # Behind the end stand other bits, of the next granule.
            values = np.full(huffman.VALUES, 99, np.int16)
            count = huffman.read_values(words_of_text(whole), 0, length, parameters(part, pairs), 576, values)
            np.testing.assert_array_equal(np.pad(values[:count], (0, 576 - count)), expected)


@pytest.mark.parametrize("select", [4, 14])
def test_a_table_that_the_standard_does_not_have(select: int):
    part = Part(tables=(select,) * 3)
    assert read(part, "0" * 4000, 100)[0] == -1
    assert read(part, "0" * 4000, 100, limit=0)[0] == -1


_PADDING_SCRIPT = """
from fuzz.checked_numba import check_every_index
check_every_index()
import numpy as np
from support.layer3_writer import LINBITS, table_codes
from support.native_streams import TABLES
from pipeline.mp3.native.huffman import VALUES, read_values
from pipeline.mp3.native.side_info import BIG_VALUES, PARAMETERS, REGION_END, TABLE_SELECT

def most_bits(select):
    codes = table_codes(select)
    side = round(len(codes) ** 0.5)
    whole = []
    for number, (code, length) in enumerate(codes):
        bits = f"{code:0{length}b}"
        for value in divmod(number, side):
            bits += "1" * ((value == 15) * LINBITS[select] + (value > 0))
        whole.append(bits)
    return max(whole, key=len)

for padding in (PADDING, PADDING // 3):
    failed = 0
    for select in TABLES:
        row = np.zeros(PARAMETERS, np.int32)
        row[BIG_VALUES], row[TABLE_SELECT : TABLE_SELECT + 3], row[REGION_END : REGION_END + 2] = 288, select, (36, 576)
        text = ("0" * 31 + most_bits(select) * 288).ljust(32 * padding + 32, "0")[: 32 * padding + 32]
        words = np.array([int(text[at : at + 32], 2) for at in range(0, len(text), 32)], np.uint64)
        for limit in (576, 288, 0):
            try:
                read_values(words, 31, 32, row, limit, np.zeros(VALUES, np.int16))
            except IndexError:
                failed += 1
    print(failed)
"""


@pytest.mark.slow
def test_what_stands_behind_the_bits_is_enough_and_needed():
    """Every index is checked: a granule of the longest codes whose bits end at once reads no further than the padding."""
    script = _PADDING_SCRIPT.replace("PADDING", str(lines._PADDING_WORDS))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    enough, needed = map(int, done.stdout.split())
    assert enough == 0 and needed > 0
