"""Windows and crops against brute force in exact arithmetic, and the same in a graph as in Python."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from pipeline.windows import crop_span, window_count, window_edges, window_position

RATES_HZ = (8000, 11025, 22050, 44100, 48000)


def windows_of(clip_samples: int, clip_rate_hz: int, crop_seconds: float, sample_rate_hz: int) -> list[tuple[int, int]]:
    """Begin and end of each window of a clip, as the dataset computes them."""
    count = int(window_count(clip_samples, clip_rate_hz, crop_seconds))
    crop_samples = round(crop_seconds * sample_rate_hz)
    positions = window_position(np.arange(count, dtype=np.float32), np.array([count], np.float32))
    assert positions.dtype == np.float32
    found = []
    for position in positions.tolist():
        start, length = crop_span(clip_samples, clip_rate_hz, crop_samples, sample_rate_hz, position)
        assert start == int(start) and length == int(length)
        found.append((int(start), int(start + length)))
    return found


def random_clips(rng: np.random.Generator, clips: int) -> list[tuple[int, int, float, int]]:
    """(samples, rate, crop_seconds, sample_rate_hz), with clips of a whole number of windows among them."""
    found = []
    for _ in range(clips):
        rate_hz, crop_seconds = int(rng.choice(RATES_HZ)), float(rng.choice([0.1, 0.7, 1.0, 2.5, 5.0]))
        samples = int(rng.integers(1, 60 * rate_hz))
        if rng.random() < 0.3:
            samples = max(1, round(crop_seconds * rate_hz) * int(rng.integers(1, 40)) + int(rng.integers(-1, 2)))
        found.append((samples, rate_hz, crop_seconds, int(rng.choice(RATES_HZ))))
    return found


def test_windows_cover_the_clip_at_equal_distances(rng):
    for clip in random_clips(rng, 500):
        samples, rate_hz, _, sample_rate_hz = clip
        windows = windows_of(*clip)
        starts = [start for start, _ in windows]
        assert starts[0] == 0 and windows[-1][1] <= samples
        assert len(windows) == 1 or windows[-1][1] == samples, clip
        covered = np.zeros(samples, bool)
        for start, end in windows:
            covered[start:end] = True
        # The count is by the clip's rate and the length by the model's rate, which differ by rounding.
        missing = np.count_nonzero(~covered)
        assert missing <= len(windows) * rate_hz / sample_rate_hz, clip
        for index, start in enumerate(starts[1:-1], 1):
            exact = Fraction(index, len(windows) - 1) * starts[-1]
            assert abs(start - exact) <= Fraction(1, 2) + exact / 2**23, clip  # positions are in single precision


def test_windows_are_as_few_as_cover_the_clip(rng):
    for clip in random_clips(rng, 500):
        samples, rate_hz, crop_seconds, _ = clip
        count = int(window_count(samples, rate_hz, crop_seconds))
        # The length of a window in samples, by counting up: the smallest number that is not below crop_seconds.
        window = next(n for n in range(int(crop_seconds * rate_hz), 10**9) if n >= crop_seconds * rate_hz)
        assert count * window >= samples > (count - 1) * window, clip


def test_crops_fit_into_their_clip_and_spread_evenly(rng):
    for samples, rate_hz, crop_seconds, sample_rate_hz in random_clips(rng, 200):
        crop_samples = round(crop_seconds * sample_rate_hz)
        spans = [crop_span(samples, rate_hz, crop_samples, sample_rate_hz, p / 64) for p in range(65)]
        (length,) = {length for _, length in spans}
        assert length == samples or length * sample_rate_hz >= crop_samples * rate_hz > (length - 1) * sample_rate_hz
        starts = [start for start, _ in spans]
        assert starts[0] == 0 and starts[-1] + length == samples and starts == sorted(starts)
        assert np.ptp(np.diff(starts)) <= 1


def test_a_whole_clip_is_one_window():
    assert window_count(12345, 44100, 0.0) == 1
    assert crop_span(12345, 44100, 0, 22050, 0.7) == (0, 12345)
    assert window_position(np.zeros(1, np.float32), np.ones(1, np.float32)) == 0
    np.testing.assert_array_equal(window_edges(2.5, 1, 0.0), [0, 2.5])


def test_a_clip_shorter_than_a_window_is_taken_whole():
    assert window_count(100, 8000, 5.0) == 1
    assert crop_span(100, 8000, 5 * 22050, 22050, 1.0) == (0, 100)
    np.testing.assert_array_equal(window_edges(1.5, 1, 5.0), [0, 1.5])


def test_edges_are_the_windows_in_seconds(rng):
    for clip in random_clips(rng, 200):
        samples, rate_hz, crop_seconds, sample_rate_hz = clip
        windows = windows_of(*clip)
        edges = window_edges(samples / rate_hz, len(windows), crop_seconds)
        assert edges[-1] == samples / rate_hz and len(edges) == len(windows) + 1
        starts = np.array([start for start, _ in windows]) / rate_hz
        np.testing.assert_allclose(edges[:-1], starts, atol=1 / sample_rate_hz + 2 / rate_hz)


@pytest.mark.parametrize(
    ("crop_seconds", "sample_rate_hz"),
    [
        (1.0, 16000),
        (2.5, 22050),
        (0.7, 16000),
    ],
)
def test_a_graph_computes_the_same_windows(crop_seconds: float, sample_rate_hz: int, rng):
    """To the sample: an exported model is to cut the windows that evaluation cuts."""
    crop_samples = round(crop_seconds * sample_rate_hz)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float64)] * 2, autograph=False)
    def in_graph(samples: tf.Tensor, rate_hz: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.cast(window_count(samples, rate_hz, crop_seconds, tf.math), tf.float32)
        position = tf.cast(window_position(tf.range(count), count, tf.math), tf.float64)
        return crop_span(samples, rate_hz, crop_samples, sample_rate_hz, position, tf.math)

    for samples, rate_hz, _, _ in random_clips(rng, 300):
        starts, length = in_graph(samples, rate_hz)
        ends = starts.numpy() + length.numpy()
        expected = windows_of(samples, rate_hz, crop_seconds, sample_rate_hz)
        assert list(zip(starts.numpy(), ends, strict=True)) == expected


@pytest.mark.parametrize("module", ["pipeline.windows", "pipeline.decoding.registry", "experiments.settings"])
def test_importing_it_loads_no_tensorflow(module: str):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'soundfile' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
