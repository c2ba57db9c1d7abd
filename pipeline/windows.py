"""Which windows evaluation cuts from a clip, and where a crop of a clip begins and ends.

A window is one of the equally spaced crops that cover a clip: the first begins where the clip begins, the last ends where
the clip ends, and neighbours leave no gap. A position says where a crop lies among all places where the crop fits:
0 is the beginning of the clip and 1 its end.

All decoders, the datasets and the exported models use these functions. The functions stand below the decoders and do not
import TensorFlow. They compute with NumPy, or in a graph with `ops=tf.math`; tensors are float64, except in
`window_position`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Number = Any  # a Python or NumPy number, or a tensor
# The longest crop or window, in seconds: 53 MB each at 22,050 Hz. Whole clips (0) may be longer.
MAX_CROP_SECONDS = 600


def window_count(clip_samples: Number, clip_rate_hz: Number, crop_seconds: float, ops: Any = np) -> Number:
    """Returns how many windows cover a clip: ceil(clip / window), and 1 where the window is the whole clip.

    Args:
        clip_samples: length of the clip at its own rate, at least 1.
        clip_rate_hz: the clip's own rate.
        crop_seconds: length of a window; 0 means the whole clip.
        ops: the module with `ceil`: `numpy` or `tf.math`.

    Returns:
        A whole number, as a float unless it is the 1 of a whole clip.
    """
    if crop_seconds == 0:
        return 1
    return ops.ceil(clip_samples / ops.ceil(crop_seconds * clip_rate_hz))


def window_position(index: Number, count: Number, ops: Any = np) -> Number:
    """Returns the position of a window: index / (count - 1), and 0 for a single window.

    Args:
        index: number of the window from 0, a float32 tensor or array: positions are in single precision everywhere,
            because the last bit of a position may decide at which sample a window begins.
        count: number of windows, a float32 tensor or array.
        ops: the module with `maximum`: `numpy` or `tf.math`.

    Returns:
        float32 of the shape of `index`, 0...1.
    """
    return index / ops.maximum(count - 1, 1)


def crop_span(
    clip_samples: Number,
    clip_rate_hz: Number,
    crop_samples: int,
    sample_rate_hz: int,
    position: Number,
    ops: Any = np,
) -> tuple[Number, Number]:
    """Returns where a crop begins in its clip and how much of the clip it takes, before resampling.

    Args:
        clip_samples: length of the clip at its own rate.
        clip_rate_hz: the clip's own rate.
        crop_samples: length of the crop at `sample_rate_hz`; 0 means the whole clip.
        sample_rate_hz: the rate to which the crop is resampled.
        position: where the crop lies, 0...1, float64, a scalar or [crops].
        ops: the module with `minimum` and `round`: `numpy` or `tf.math`.

    Returns:
        The start, of the shape of `position`, and the length: whole numbers of samples at the clip's own rate, as floats.
        A clip that is shorter than a crop is taken whole.
    """
    length = clip_samples
    if crop_samples:
        # Not `ceil(a * b / c)`: TensorFlow's graph optimizer would fold a / c into a factor, and its rounding add a sample.
        length = ops.minimum(clip_samples, -(-crop_samples * clip_rate_hz // sample_rate_hz))
    return ops.round(position * (clip_samples - length)), length


def window_edges(clip_seconds: float, count: int, crop_seconds: float) -> np.ndarray:
    """Returns where the windows of a clip begin, and where the clip ends.

    Args:
        clip_seconds: length of the clip.
        count: number of windows.
        crop_seconds: length of a window; 0 means the whole clip.

    Returns:
        Seconds, float64 [count + 1].
    """
    return np.append(np.linspace(0, max(clip_seconds - crop_seconds, 0), count), clip_seconds)
