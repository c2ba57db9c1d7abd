"""Side information, scale factors and requantizing against the standard's formulas."""

import numpy as np
import pytest
from support.layer3_reference import BitReader, Side, bits_of, read_factors, read_side, requantize

from pipeline.mp3.native import requantize as kernels
from pipeline.mp3.native import scale_factors
from pipeline.mp3.native import side_info as names
from pipeline.mp3.native.bands import band_edges
from pipeline.mp3.native.huffman import VALUES

RATES_HZ = (44100, 48000, 32000)
BLOCKS = ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1))


def row_of(side: Side) -> np.ndarray:
    row = np.zeros(names.PARAMETERS, np.int32)
    row[: names.SCALEFAC_COMPRESS + 1] = side.length, side.pairs, side.gain, side.compress
    row[names.BLOCK_TYPE], row[names.MIXED_BLOCK] = side.block_type, side.mixed
    row[names.TABLE_SELECT : names.TABLE_SELECT + len(side.tables)] = side.tables
    row[names.REGION_END : names.REGION_END + 2] = side.ends
    row[names.SUBBLOCK_GAIN : names.SUBBLOCK_GAIN + 3] = side.subblock_gain
    row[names.PREFLAG :] = side.preflag, side.scale, side.count1_table, side.scfsi
    return row


def random_side(rng: np.random.Generator, block_type: int, mixed: int, **fields) -> Side:
    values = {
        "length": 100,
        "pairs": 100,
        "gain": int(rng.integers(120, 256)),
        "compress": int(rng.integers(16)),
        "block_type": block_type,
        "mixed": mixed,
        "tables": (1, 2, 3),
        "ends": (36, 576),
        "subblock_gain": tuple(int(gain) for gain in rng.integers(0, 8, 3)),
        "preflag": int(rng.integers(2)),
        "scale": int(rng.integers(2)),
        "count1_table": 0,
        "scfsi": int(rng.integers(16)),
    }
    return Side(**{**values, **fields})


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_side_information(rate_hz: int, channels: int, rng):
    edges, _ = band_edges(rate_hz)
    accepted = 0
    for _ in range(300):
        data = rng.bytes(17 if channels == 1 else 32)
        begin, granules = read_side(BitReader(bits_of(data)), channels, rate_hz)
        found = np.zeros((2, 2, names.PARAMETERS), np.int32)
        padded = np.frombuffer(bytes(3) + data + bytes(40), np.uint8)
        ours = names.read_side_info(padded, 24, channels, edges, found)
        sides = [side for granule in granules for side in granule]
        if any(side.pairs > 288 or (len(side.tables) == 2 and side.block_type == 0) for side in sides):
            assert ours == -1
            continue
        accepted += 1
        assert ours == begin
        for granule in range(2):
            for channel in range(channels):
                expected = row_of(granules[granule][channel])
                if expected[names.PART2_3_LENGTH] == 0:
                    expected[names.SCALEFAC_COMPRESS] = 0
                np.testing.assert_array_equal(found[granule, channel], expected)
    assert accepted >= 5


@pytest.mark.parametrize(("block_type", "mixed"), BLOCKS)
def test_scale_factors(block_type: int, mixed: int, rng):
    for compress in range(16):
        for _ in range(10):
            side = random_side(rng, block_type, mixed, compress=compress)
            before = rng.integers(0, 16, scale_factors.MAX_SCALE_FACTORS).astype(np.int32)
            bits = "".join(rng.choice(["0", "1"], 300))
            reader = BitReader(bits)
            expected = read_factors(reader, side, before.tolist())
            words = np.array([int(bits[at : at + 32].ljust(32, "0"), 2) for at in range(0, 300, 32)], np.uint64)
            assert scale_factors.read_scale_factors(words, 0, row_of(side), before) == reader.place
            np.testing.assert_array_equal(before[: len(expected)], expected)
            assert not before[len(expected) :].any()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize(("block_type", "mixed"), BLOCKS)
def test_requantizing(rate_hz: int, block_type: int, mixed: int, rng):
    for _ in range(10):
        side = random_side(rng, block_type, mixed)
        factors = rng.integers(0, 16, scale_factors.MAX_SCALE_FACTORS).astype(np.int32)
        factors[21 if block_type != 2 else 35 if mixed else 36 :] = 0
        count = int(rng.integers(0, 577))
        values = np.zeros(VALUES, np.int16)
        values[:count] = rng.integers(-8206, 8207, count)
        values[: count // 2] %= 16
        expected = requantize(values[:576].tolist(), side, factors.tolist(), rate_hz)
        values[count:] = 77  # what is left of another granule
        for width, halvings in ((576, 0), (288, 4), (576, 2)):
            lines = np.zeros(width, np.float32)
            kernels.add_lines(row_of(side), factors, values, count, halvings, *band_edges(rate_hz), lines)
            np.testing.assert_allclose(lines, expected[:width] * 2 ** (-halvings / 4), rtol=3e-7, atol=1e-30)


def test_lines_are_added_to_those_that_are_there(rng):
    side = random_side(rng, 0, 0)
    values = rng.integers(-15, 16, VALUES).astype(np.int16)
    factors = np.zeros(scale_factors.MAX_SCALE_FACTORS, np.int32)
    once, twice = np.zeros(576, np.float32), np.zeros(576, np.float32)
    for lines in (once, twice, twice):
        kernels.add_lines(row_of(side), factors, values, 576, 0, *band_edges(44100), lines)
    np.testing.assert_array_equal(twice, 2 * once)
