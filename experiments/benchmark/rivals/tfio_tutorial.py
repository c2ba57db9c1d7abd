"""tensorflow-io as its tutorial shows it: decode the whole MP3, resample it with its op, then crop."""

from __future__ import annotations

from collections.abc import Iterator

import soundfile

from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes a crop of each of 16 files, but of those that tensorflow-io refuses; yields 1 for each."""
    import tensorflow as tf

    from pipeline.decoding.tfio_decoder import load_ops

    ops = load_ops()

    def load(path: tf.Tensor, rate_hz: tf.Tensor) -> tf.Tensor:
        audio = ops.io_audio_decode_mp3(tf.io.read_file(path), shape=tf.constant([-1, -1], tf.int64))
        audio = ops.io_audio_resample(audio, rate_hz, work.sample_rate_hz)
        return tf.image.random_crop(tf.reduce_mean(audio, axis=1), [work.crop_samples])

    paths = list(work.paths[:16])
    rates = [soundfile.info(path).samplerate for path in paths]
    dataset = tf.data.Dataset.from_tensor_slices((paths, tf.constant(rates, tf.int64)))
    for _ in dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors():
        yield 1
