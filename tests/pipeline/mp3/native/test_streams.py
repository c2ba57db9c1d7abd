"""Whole streams of every kind that the standard allows, against libsndfile and against the standard's formulas in float64."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.layer3_reference import decode_stream
from support.layer3_writer import BIT_RATES_KBPS, DUAL, JOINT, MONO, RATES_HZ, STEREO, Frame, Part, write_stream
from support.native_streams import BLOCKS, TABLES, decode_natively, largest_values, random_part

from pipeline.decoding.auto_decoder import find_route
from pipeline.decoding.soundfile_decoder import decode_crop

TOLERANCE = 4e-6  # of the loudest sample: libmpg123's own rounding is of that size


def check(path: Path, data: bytes, rate_hz: int, has_reference: bool = True) -> np.ndarray:
    """Decodes a stream in three ways; returns the native samples."""
    path.write_bytes(data)
    assert find_route(path) == "native"
    batch, reasons = decode_natively(path, rate_hz)
    assert reasons == [""]
    found = batch[0]
    with soundfile.SoundFile(path) as sound:
        by_libsndfile = sound.read(dtype="float32", always_2d=True).mean(axis=1)
    scale = max(1.0, float(np.abs(by_libsndfile).max()))
    assert len(found) == len(by_libsndfile) and np.abs(by_libsndfile).max() > 0.01
    np.testing.assert_allclose(found, by_libsndfile, rtol=0, atol=TOLERANCE * scale)
    np.testing.assert_allclose(found, decode_crop(path, rate_hz, 0), rtol=0, atol=TOLERANCE * scale)
    if has_reference:
        np.testing.assert_allclose(found, decode_stream(data).mean(axis=1), rtol=0, atol=TOLERANCE * scale)
    return found


def stereo(first: Part, second: Part, third: Part, fourth: Part, **fields) -> Frame:
    return Frame([[first, second], [third, fourth]], **fields)


@pytest.mark.parametrize("mode_extension", [0, 2])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_blocks_that_differ_between_the_channels(tmp_path: Path, rate_hz: int, mode_extension: int, rng):
    pairs = list(itertools.product(BLOCKS, BLOCKS))
    rng.shuffle(pairs)
    pairs = pairs[:18] if rate_hz != 44100 else [*pairs, pairs[0]]
    parts = [
        [random_part(rng, pairs=60, small=40, block_type=block, mixed=mixed) for block, mixed in pair] for pair in pairs
    ]
    frames = [Frame(parts[at : at + 2], mode=JOINT, mode_extension=mode_extension) for at in range(0, len(parts), 2)]
    check(tmp_path / "a.mp3", write_stream(frames, rate_hz), rate_hz)


@pytest.mark.parametrize("block", [(0, 0), (2, 0), (2, 1)])
def test_every_table(tmp_path: Path, block: tuple[int, int], rng):
    """The largest values too, which take all bits of their linbits."""
    frames = []
    for select in TABLES:
        gains = {"global_gain": 210 - 4 * (13 if select in (23, 31) else 8 if select in (22, 30) else 3)}
        parts = [
            Part(values=largest_values(select, 30, rng), pairs=30, tables=(select,) * 3, regions=(3, 2),
                 block_type=block[0], mixed=block[1], **gains)
            for _ in range(2)
        ]  # fmt: skip
        frames.append(Frame([[part] for part in parts], mode=MONO))
    check(tmp_path / "a.mp3", write_stream(frames, 44100), 44100)


def cut_fours(rng: np.random.Generator, blocks: tuple[tuple[int, int], ...]) -> list[Frame]:
    """Granules whose last four values end behind the bits, or before spare bits, which are read as values too."""
    frames = []
    for number in range(24):
        parts = []
        for _ in range(2):
            values = [*rng.integers(-9, 10, 40).tolist(), *rng.integers(-1, 2, 80).tolist(), 1, -1, 1, 1]
            spare = int(rng.integers(-9, 0)) if number % 3 else int(rng.integers(0, 60))
            block = blocks[int(rng.integers(len(blocks)))]
            parts.append(
                Part(values=values, pairs=20, count1_table=int(rng.integers(2)), spare_bits=spare, global_gain=180,
                     block_type=block[0], mixed=block[1])
            )  # fmt: skip
        frames.append(Frame([[part] for part in parts], mode=MONO, bit_rate_kbps=128))
    return frames


def test_fours_beyond_their_bits_and_spare_bits(tmp_path: Path, rng):
    check(tmp_path / "a.mp3", write_stream(cut_fours(rng, ((0, 0), (1, 0), (3, 0), (3, 1))), 48000), 48000)


def test_fours_beyond_their_bits_in_short_blocks(tmp_path: Path, rng):
    """There, libmpg123 takes what the granule before left in its memory: nobody else's answer is the same."""
    path = tmp_path / "a.mp3"
    data = write_stream(cut_fours(rng, ((2, 0), (2, 1))), 48000)
    path.write_bytes(data)
    batch, reasons = decode_natively(path, 48000)
    if not reasons[0]:
        np.testing.assert_allclose(batch[0], decode_stream(data)[:, 0], rtol=0, atol=TOLERANCE)


def test_the_last_line_and_fours_behind_it(tmp_path: Path, rng):
    frames = []
    for pairs in (288, 287, 286, 285, 0, 1, 2, 3):
        parts = []
        for _ in range(2):
            values = [*rng.integers(-1, 2, 576).tolist()]
            values[-4:] = 1, -1, 1, 1
            last = 576 if pairs % 2 == 0 else 574  # of an odd number of pairs, four values may not end at the last line
            parts.append(Part(values=values[:last], pairs=pairs, tables=(1, 1, 1), global_gain=195))
        frames.append(Frame([[part] for part in parts], mode=MONO))
    check(tmp_path / "a.mp3", write_stream(frames, 44100), 44100)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_scale_factors(tmp_path: Path, rate_hz: int, rng):
    """Every scalefac_compress, the factors of the granule before, preflag, their step, and the gain of each short window."""
    lower, upper = (0, 0, 0, 0, 3, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4), (0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 3)

    def part(granule: int, block: tuple[int, int], compress: int) -> Part:
        split, count = {(2, 0): (18, 36), (2, 1): (17, 35)}.get(block, (11, 21))
        bits = [lower[compress] if number < split else upper[compress] for number in range(count)]
        return random_part(
            rng, pairs=100, small=40, block_type=block[0], mixed=block[1], global_gain=200, scalefac_compress=compress,
            scale_factors=[int(rng.integers(1 << size)) for size in bits], scfsi=int(rng.integers(16)) * granule,
            preflag=int(rng.integers(2)), scalefac_scale=int(rng.integers(2)),
            subblock_gain=tuple(int(gain) for gain in rng.integers(0, 8, 3)) if block[0] else (0, 0, 0),
        )  # fmt: skip

    frames = []
    for compress in range(16):
        for blocks in (((0, 0), (0, 0)), ((2, 1), (2, 0))) if compress % 2 else (((2, 0), (0, 0)), ((0, 0), (3, 1))):
            parts = [
                [part(granule, blocks[granule ^ channel], compress) for channel in range(2)] for granule in range(2)
            ]
            frames.append(Frame(parts, bit_rate_kbps=320))
    check(tmp_path / "a.mp3", write_stream(frames, rate_hz), rate_hz, has_reference=rate_hz == 44100)


@pytest.mark.parametrize("has_crc", [False, True])
@pytest.mark.parametrize("mode", [STEREO, JOINT, DUAL, MONO])
def test_reservoir_checksum_and_modes(tmp_path: Path, mode: int, has_crc: bool, rng):
    """Frames that need more bits than they hold, behind frames that need few; of a variable bit rate as well."""
    channels = 1 if mode == MONO else 2
    for rates in ((128,), (64, 320, 128, 96)):
        frames = []
        for number in range(24):
            pairs = (10, 20, 150 // channels)[number % 3] if len(rates) == 1 else 30
            parts = [[random_part(rng, pairs=pairs, small=20) for _ in range(channels)] for _ in range(2)]
            frames.append(
                Frame(parts, mode, 2 * (number % 2) if mode == JOINT else 0, rates[number % len(rates)], has_crc)
            )
        check(tmp_path / f"{len(rates)}.mp3", write_stream(frames, 44100), 44100)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_bit_rates(tmp_path: Path, rate_hz: int, rng):
    for bit_rate_kbps in BIT_RATES_KBPS:
        frames = [
            Frame([[random_part(rng, pairs=6, small=20)] for _ in range(2)], MONO, 0, bit_rate_kbps, padding=number % 2)
            for number in range(8)
        ]
        data = write_stream(frames, rate_hz, use_reservoir=False)
        check(tmp_path / f"{bit_rate_kbps}.mp3", data, rate_hz, has_reference=False)


def test_granules_without_bits(tmp_path: Path, rng):
    """Block types and scale factors that are stated beside no bits at all."""
    frames = []
    for number in range(20):
        parts = [[random_part(rng, pairs=40), random_part(rng, pairs=40)] for _ in range(2)]
        block = BLOCKS[number % len(BLOCKS)]
        parts[number % 2][number // 2 % 2] = Part(block_type=block[0], mixed=block[1], scalefac_compress=0)
        frames.append(Frame(parts, mode=JOINT, mode_extension=2 * (number % 3 == 0)))
    check(tmp_path / "a.mp3", write_stream(frames, 44100), 44100)


def test_intensity_stereo_is_left_to_libsndfile(tmp_path: Path, rng):
    frames = [
        Frame([[random_part(rng, pairs=60), random_part(rng, pairs=10)] for _ in range(2)], JOINT, extension)
        for extension in (0, 2, 1, 3) * 4
    ]
    (tmp_path / "a.mp3").write_bytes(write_stream(frames, 44100))
    assert decode_natively(tmp_path / "a.mp3", 44100)[1] == ["intensity stereo"]


def test_half_rate_reads_as_much_of_a_band_as_it_needs(tmp_path: Path, rng):
    """Short blocks, whose band at the limit lies in three windows; against the same stream without what is above."""
    import soxr

    parts = [[random_part(rng, pairs=280, block_type=2, mixed=number % 2)] for number in range(40)]
    frames = [Frame(parts[at : at + 2], MONO) for at in range(0, 40, 2)]
    (tmp_path / "a.mp3").write_bytes(write_stream(frames, 44100))
    full, reasons = decode_natively(tmp_path / "a.mp3", 44100)
    half, more = decode_natively(tmp_path / "a.mp3", 22050)
    assert reasons + more == ["", ""]
    difference = half[0] - soxr.resample(full[0], 44100, 22050)[: half.shape[1]]
    spectrum = np.abs(np.fft.rfft(difference * np.hanning(len(difference)))) ** 2
    signal = np.abs(np.fft.rfft(half[0] * np.hanning(len(difference)))) ** 2
    below = int(0.9 * len(spectrum))
    assert 10 * np.log10(signal[:below].sum() / spectrum[:below].sum()) > 90
