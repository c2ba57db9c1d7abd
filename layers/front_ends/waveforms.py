"""What every front end accepts as a waveform: one or a batch, in mono, as floating-point samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf


def over_waveforms(
    name: str,
    waveform: tf.Tensor,
    min_samples: int,
    remedy: str,
    features: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Checks what a front end was called with, and computes the features of it.

    Args:
        name: of the front end, for messages.
        waveform: [batch, samples], [batch, samples, 1] or, for one waveform, [samples].
        min_samples: length in samples of the shortest waveform that gives a frame.
        remedy: what gives a frame otherwise, such as "a smaller n_fft", for the message of a shorter one.
        features: from waveforms [batch, samples] to images [batch, frames, n_mels, 1].

    Returns:
        Images [batch, frames, n_mels, 1] or, of one waveform, [frames, n_mels, 1].

    Raises:
        ValueError: the waveforms are of several channels, integers or too short.
    """
    if not waveform.dtype.is_floating:
        raise ValueError(_expected_floating_point(name, waveform.dtype))
    batch_shape, samples = split_shape(name, waveform.shape)
    # Sizes that only a running graph knows. XLA, which knows them, leaves the checks out.
    checks = []
    if samples is None:
        message = f"{name} expected waveforms of at least {min_samples} samples; use longer waveforms or {remedy}."
        axis = 1 if batch_shape else 0
        checks.append(tf.debugging.assert_greater_equal(tf.shape(waveform)[axis], min_samples, message))
    if waveform.shape.rank == 3 and waveform.shape[2] is None:
        message = f"{name} expected mono waveforms; average the channels first, with keras.ops.mean(waveform, axis=-1)."
        checks.append(tf.debugging.assert_equal(tf.shape(waveform)[2], 1, message))
    if checks:
        with tf.control_dependencies([check for check in checks if check is not None]):
            waveform = tf.identity(waveform)
    if samples is not None and samples < min_samples:
        swapped = "; a single waveform has the shape [samples]" * (samples == 1 and len(waveform.shape) == 2)
        raise ValueError(
            f"{name} expected waveforms of at least {min_samples} samples, received {samples}; use longer waveforms or "
            f"{remedy}{swapped}."
        )
    if not batch_shape:
        return features(waveform[tf.newaxis])[0]
    return features(waveform[:, :, 0] if len(waveform.shape) == 3 else waveform)


def split_shape(name: str, shape: Sequence[int | None]) -> tuple[tuple[int | None, ...], int | None]:
    """Splits the shape of waveforms into the batch, which a single waveform lacks, and the number of samples.

    Args:
        name: of the front end, for messages.
        shape: [batch, samples], [batch, samples, 1], as Keras's and TensorFlow's own loaders give mono, or [samples]. A graph
            may not know yet that there is one channel: Keras's loader does not say so.

    Returns:
        The shape before the samples, () or (batch,), and the number of samples, each None where it is not known yet.

    Raises:
        ValueError: it is of several channels, or of another number of axes.
    """
    if isinstance(shape, tf.TensorShape) and shape.rank is None:
        raise ValueError(
            f"{name} expected waveforms [batch, samples], received a tensor of unknown shape; say it with "
            "tf.ensure_shape(waveform, [None, None])."
        )
    sizes = tuple(shape)
    if len(sizes) == 3 and sizes[2] not in (1, None):
        raise ValueError(
            f"{name} expected mono waveforms [batch, samples] or [batch, samples, 1], received the shape {sizes}; average "
            "the channels first, with keras.ops.mean(waveform, axis=-1)."
        )
    if not 1 <= len(sizes) <= 3:
        raise ValueError(
            f"{name} expected waveforms [batch, samples] or [batch, samples, 1], or one waveform [samples], received the "
            f"shape {sizes}; reshape them first."
        )
    return (sizes[:1], sizes[1]) if len(sizes) > 1 else ((), sizes[0])


def _expected_floating_point(name: str, dtype: tf.DType) -> str:
    remedy = "convert them first"
    if dtype.is_integer:
        remedy = f"divide them by {dtype.max + 1}, with tf.cast(waveform, tf.float32) / {dtype.max + 1}"
        if dtype.is_unsigned:
            half = (dtype.max + 1) // 2
            remedy = f"convert them first, with tf.cast(waveform, tf.float32) / {half} - 1"
    return f"{name} expected waveforms as floating-point samples between -1 and 1, received {dtype.name}; {remedy}."
