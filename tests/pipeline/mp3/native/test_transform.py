"""From lines to samples against the standard's cosines and its 512 coefficients, at the file's rate and at half of it."""

import itertools

import numpy as np
import pytest
import scipy.signal
import soxr
from support.layer3_reference import Channel

from pipeline.mp3.native.crops import _half_hybrid
from pipeline.mp3.native.edges import full_hybrid
from pipeline.mp3.native.half_band import REACH, filter_subbands, resampling_filter
from pipeline.mp3.native.lines import MIXED
from pipeline.mp3.native.synthesis import HALF_BANDS, HALF_RATE, synthesize_full, synthesize_half

BLOCKS = ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (1, 1), (3, 1))


def kinds(blocks: list[tuple[int, int]]) -> np.ndarray:
    return np.array([block + MIXED * mixed for block, mixed in blocks], np.int8)


def reference_subbands(lines: np.ndarray, blocks: list[tuple[int, int]]) -> np.ndarray:
    channel = Channel()
    return np.concatenate([channel.hybrid(row, *block) for row, block in zip(lines.astype(float), blocks, strict=True)])


def test_hybrid_of_every_block_behind_every_other(rng):
    blocks = list(itertools.chain.from_iterable(itertools.product(BLOCKS, BLOCKS)))
    lines = rng.standard_normal((len(blocks), 576)).astype(np.float32)
    expected = reference_subbands(lines, blocks)[18:]
    both = np.stack([kinds(blocks)] * 2, axis=1)
    subbands = np.zeros((18 * (len(blocks) - 1), 32), np.float32)
    full_hybrid(lines, np.full_like(lines, np.nan), both, subbands)
    np.testing.assert_allclose(subbands, expected, atol=1e-5)
    half = np.zeros((18 * (len(blocks) - 1), HALF_BANDS), np.float32)
    cut = np.ascontiguousarray(lines[:, : 18 * HALF_BANDS])
    _half_hybrid(cut, np.full_like(cut, np.nan), both, half)
    # What subband 16 mirrors into subband 15 is left out.
    np.testing.assert_allclose(half[:, :15], expected[:, :15], atol=1e-5)


def test_hybrid_of_channels_with_different_blocks(rng):
    pairs = [*list(itertools.permutations(BLOCKS, 2)), ((0, 0), (0, 0))]
    lines = rng.standard_normal((2, len(pairs), 576)).astype(np.float32)
    expected = sum(reference_subbands(lines[n], [pair[n] for pair in pairs]) for n in range(2))
    blocks = np.stack([kinds([pair[n] for pair in pairs]) for n in range(2)], axis=1)
    lines[0, -1] += lines[1, -1]  # the same block: the lines hold both channels
    lines[1, -1] = np.nan
    subbands = np.zeros((18 * (len(pairs) - 1), 32), np.float32)
    full_hybrid(lines[0], lines[1], blocks, subbands)
    np.testing.assert_allclose(subbands, expected[18:], atol=1e-5)


@pytest.mark.parametrize("slots", [16, 17, 31, 70])
def test_synthesis(slots: int, rng):
    subbands = rng.standard_normal((slots, 32)).astype(np.float32)
    expected = Channel().synthesize(subbands.astype(float))[15 * 32 :]
    samples = np.zeros(32 * (slots - 15), np.float32)
    synthesize_full(subbands, np.full(32 * slots, np.nan, np.float32), samples)
    np.testing.assert_allclose(samples, expected, atol=2e-5)


@pytest.mark.parametrize("phase", [0, 1])
def test_synthesis_at_half_rate_is_every_second_sample(phase: int, rng):
    subbands = np.zeros((70, 32), np.float32)
    subbands[:, :HALF_BANDS] = rng.standard_normal((70, HALF_BANDS))
    expected = Channel().synthesize(subbands.astype(float))[15 * 32 :]
    samples = np.zeros(16 * 55, np.float32)
    synthesize_half(np.ascontiguousarray(subbands[:, :HALF_BANDS]), HALF_RATE[phase], samples)
    np.testing.assert_allclose(samples, expected[phase::2], atol=2e-5)


def test_resampling_filter_is_that_of_soxr():
    impulse = np.zeros(4001)
    impulse[2000] = 1
    theirs = soxr.resample(impulse, 44100, 22050)
    ours = scipy.signal.convolve(impulse, resampling_filter(), "same")[::2]
    np.testing.assert_allclose(ours, theirs, atol=2e-4 * np.abs(theirs).max())


def snr_db(found: np.ndarray, expected: np.ndarray, rate_hz: int) -> float:
    """Below 0.9 of half the rate."""
    low_pass = scipy.signal.firwin(801, 0.9 * rate_hz / 2, fs=rate_hz, window=("kaiser", 14))
    noise, signal = (scipy.signal.convolve(x, low_pass, "valid") for x in (found - expected, expected))
    return float(10 * np.log10(np.sum(signal**2) / np.sum(noise**2)))


@pytest.mark.parametrize("phase", [0, 1])
def test_half_band_is_filtering_and_leaving_out(phase: int, rng):
    """Noise of any frequency, against the filter on samples at the file's rate, and against soxr."""
    slots = 500
    subbands = rng.standard_normal((slots, 32)).astype(np.float32)
    full = Channel().synthesize(subbands.astype(float))
    expected = scipy.signal.convolve(full, resampling_filter(), "same")[15 * 32 + phase :: 2]
    by_soxr = soxr.resample(full[phase:], 44100, 22050)[15 * 16 :]
    half = np.ascontiguousarray(subbands[:, :HALF_BANDS])
    filter_subbands(half)
    samples = np.zeros(16 * (slots - 15), np.float32)
    synthesize_half(half, HALF_RATE[phase], samples)
    inner = slice(16 * (REACH + 15), -16 * (REACH + 15))
    size = min(len(expected), len(by_soxr), len(samples))
    assert snr_db(samples[:size][inner], expected[:size][inner], 22050) > 90
    assert snr_db(samples[:size][inner], by_soxr[:size][inner], 22050) > 90
