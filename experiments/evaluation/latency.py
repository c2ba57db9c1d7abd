"""How long a model takes for one crop on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

LATENCY_SECONDS = 5.0
_WARM_UP, _REPEATS = 5, 30


def median_latency_ms(predict: Callable[[tf.Tensor], object], sample_rate_hz: int) -> float:
    """Measures the median time of predicting one crop of five seconds, in milliseconds.

    Args:
        predict: from waveform float32 [1, samples]; it returns when the result is computed.
        sample_rate_hz: of the waveform, which is noise.
    """
    samples = round(LATENCY_SECONDS * sample_rate_hz)
    waveform = tf.constant(np.random.default_rng(0).uniform(-0.5, 0.5, (1, samples)), tf.float32)
    seconds = []
    for _ in range(_WARM_UP + _REPEATS):
        begin = time.perf_counter()
        predict(waveform)
        seconds.append(time.perf_counter() - begin)
    return 1000 * float(np.median(seconds[_WARM_UP:]))
