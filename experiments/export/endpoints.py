"""What an exported model answers to: its endpoints, as functions of tensors that refer to no code of ours once saved."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from pipeline import windows
from pipeline.decoding.decoder import MAX_SAMPLE
from pipeline.decoding.resample import resample
from pipeline.decoding.silence import MIN_SECONDS, SILENT_PEAK, describe_silence
from pipeline.decoding.tfio_decoder import decode_mp3

# Windows of a long track that are computed at a time: this much audio, so that memory does not grow with the track.
_BATCH_SECONDS = 20.0

Outputs = dict[str, tf.Tensor]
# (function, its input signature)
Endpoint = tuple[Callable[..., Outputs], list[tf.TensorSpec]]


@dataclasses.dataclass(frozen=True)
class AudioClassifier:
    """A trained model with what it takes to use it on any audio.

    Attributes:
        model: from waveform [batch, samples] to probabilities [batch, classes], with a layer `embedding`.
        labels: names of the classes, in order.
        sample_rate_hz: rate of the model's waveforms.
        crop_seconds: length of the crops that it was trained and evaluated on; 0: whole clips.
        min_samples: shortest waveform that the model takes.
    """

    model: keras.Model
    labels: Sequence[str]
    sample_rate_hz: int
    crop_seconds: float
    min_samples: int

    @property
    def crop_samples(self) -> int:
        """Length of a crop in samples; 0: whole clips."""
        return round(self.crop_seconds * self.sample_rate_hz)

    @property
    def shortest(self) -> int:
        """Length in samples to which shorter waveforms are padded with zeros, as in training."""
        return self.crop_samples or self.min_samples

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.labels)

    def endpoints(self, metadata_json: str) -> dict[str, Endpoint]:
        """The signatures of the audio-in SavedModel, by name."""
        return {
            "serving_default": (self.classify, [tf.TensorSpec([None, None], tf.float32, "waveform")]),
            "track": (
                self.classify_track,
                [tf.TensorSpec([None], tf.float32, "waveform"), tf.TensorSpec([], tf.int32, "sample_rate")],
            ),
            "metadata": (lambda: {"json": tf.constant(metadata_json)}, []),
        }

    def mp3_endpoints(self, metadata_json: str) -> dict[str, Endpoint]:
        """The signatures of the MP3-bytes SavedModel, by name."""
        return {
            "serving_default": (self.classify_mp3, [tf.TensorSpec([None], tf.string, "mp3")]),
            "metadata": (lambda: {"json": tf.constant(metadata_json)}, []),
        }

    def classify(self, waveform: tf.Tensor) -> Outputs:
        """Waveforms [batch, samples] at the model's rate, each taken as one crop, to probabilities and embeddings.

        One shorter than the crops that the model was trained on is padded with zeros, as in training.
        """
        with tf.control_dependencies(_waveform_checks(waveform)):
            probabilities, embedding = self._apply(tf.identity(waveform))
        return {"probabilities": probabilities, "labels": self._labels(), "embedding": embedding}

    def classify_track(self, waveform: tf.Tensor, sample_rate: tf.Tensor) -> Outputs:
        """A waveform [samples] of any length and rate, by its windows: the same crops as in evaluation, averaged."""
        checks = [
            tf.debugging.assert_greater(
                sample_rate, 0, "expected sample_rate as a positive number of hertz; pass the rate of the waveform"
            ),
            *_waveform_checks(waveform, whole=False),
        ]
        with tf.control_dependencies(checks):
            probabilities, _, starts = self._classify_windows(tf.identity(waveform), tf.identity(sample_rate))
        return {
            "probabilities": tf.reduce_mean(probabilities, axis=0),
            "window_probabilities": probabilities,
            "window_start_seconds": starts,
            "labels": self._labels(),
        }

    def classify_mp3(self, mp3: tf.Tensor) -> Outputs:
        """Contents of MP3 files [batch], each by its windows, averaged.

        `ok` [batch] says which could be decoded; of the others probabilities and embedding are zeros, and `error`
        [batch] is the reason. `remark` [batch] says which have no sound.
        """
        silent, short = describe_silence(0.0, MIN_SECONDS), describe_silence(1.0, 0.0)

        def classify(mp3: tf.Tensor) -> tuple[tf.Tensor, ...]:
            waveform, sample_rate, error = decode_mp3(mp3)
            ok = error == ""

            def classify_windows() -> tuple[tf.Tensor, tf.Tensor]:
                probabilities, embedding, _ = self._classify_windows(waveform, sample_rate)
                return tf.reduce_mean(probabilities, axis=0), tf.reduce_mean(embedding, axis=0)

            nothing = (tf.zeros([self.num_classes]), tf.zeros([self._embedding_units]))
            is_short = tf.cast(tf.size(waveform), tf.float32) < MIN_SECONDS * tf.cast(sample_rate, tf.float32)
            is_silent = tf.reduce_max(tf.abs(waveform)) < SILENT_PEAK
            remark = tf.where(ok, tf.where(is_short, short, tf.where(is_silent, silent, "")), "")
            return *tf.cond(ok, classify_windows, lambda: nothing), ok, error, remark

        types = (tf.float32, tf.float32, tf.bool, tf.string, tf.string)
        probabilities, embedding, ok, error, remark = tf.map_fn(
            classify, mp3, fn_output_signature=types, parallel_iterations=1
        )
        return {
            "probabilities": tf.ensure_shape(probabilities, [None, self.num_classes]),
            "labels": self._labels(),
            "embedding": tf.ensure_shape(embedding, [None, self._embedding_units]),
            "ok": ok,
            "error": error,
            "remark": remark,
        }

    @property
    def _embedding_units(self) -> int:
        return self.model.get_layer("embedding").output.shape[-1]

    @functools.cached_property
    def _model_with_embedding(self) -> keras.Model:
        return keras.Model(self.model.input, [self.model.output, self.model.get_layer("embedding").output])

    def _labels(self) -> tf.Tensor:
        return tf.constant(list(self.labels))

    def _apply(self, waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Waveforms [batch, samples] to probabilities [batch, classes] and embeddings [batch, units]."""
        missing = tf.maximum(self.shortest - tf.shape(waveform)[1], 0)
        probabilities, embedding = self._model_with_embedding(tf.pad(waveform, [[0, 0], [0, missing]]), training=False)
        return probabilities, tf.cast(embedding, tf.float32)

    def _classify_windows(self, waveform: tf.Tensor, sample_rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cuts, resamples and classifies the windows of a waveform [samples], as `pipeline.dataset.eval_dataset` does.

        Returns:
            Probabilities [windows, classes], embeddings [windows, units], and the windows' starts in seconds [windows].
        """
        starts, length = self._window_places(tf.size(waveform), sample_rate)
        count = tf.size(starts)
        batch = max(1, int(_BATCH_SECONDS / self.crop_seconds)) if self.crop_seconds else 1

        def step(begin: tf.Tensor, *results: tf.TensorArray) -> tuple:
            # One slice a window: gathering samples by their indices would take several times the memory.
            cut = tf.map_fn(
                lambda start: waveform[start : start + length],
                starts[begin : begin + batch],
                fn_output_signature=tf.TensorSpec([None], tf.float32),
            )
            with tf.control_dependencies([_sound_check(cut)]):
                cut = tf.identity(cut)
            outputs = self._apply(resample(cut, sample_rate, self.sample_rate_hz)[:, : self.crop_samples or None])
            return begin + batch, *(
                result.write(begin // batch, output) for result, output in zip(results, outputs, strict=True)
            )

        arrays = [
            tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, width])
            for width in (self.num_classes, self._embedding_units)
        ]
        _, probabilities, embedding = tf.while_loop(
            lambda begin, *_: begin < count, step, (tf.constant(0), *arrays), parallel_iterations=1
        )
        starts_seconds = tf.cast(tf.cast(starts, tf.float64) / tf.cast(sample_rate, tf.float64), tf.float32)
        return probabilities.concat(), embedding.concat(), starts_seconds

    def _window_places(self, samples: tf.Tensor, sample_rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns where the windows begin [windows], and their length, in samples at the waveform's own rate."""
        if not self.crop_samples:
            return tf.zeros([1], tf.int32), samples
        rate, size = tf.cast(sample_rate, tf.float64), tf.cast(samples, tf.float64)
        count = tf.cast(windows.window_count(size, rate, self.crop_seconds, tf.math), tf.int32)
        index, float_count = tf.cast(tf.range(count), tf.float32), tf.cast(count, tf.float32)
        position = tf.cast(windows.window_position(index, float_count, tf.math), tf.float64)
        starts, length = windows.crop_span(size, rate, self.crop_samples, self.sample_rate_hz, position, tf.math)
        return tf.cast(starts, tf.int32), tf.cast(length, tf.int32)


def _waveform_checks(waveform: tf.Tensor, whole: bool = True) -> list[tf.Operation]:
    checks = [
        tf.debugging.assert_greater(
            tf.size(waveform),
            0,
            "expected a waveform of at least one sample, received none; leave empty recordings out",
        )
    ]
    return [*checks, _sound_check(waveform)] if whole else checks


def _sound_check(waveform: tf.Tensor) -> tf.Operation:
    """Refuses samples that are no numbers (which are not less than anything), or whose powers would overflow."""
    return tf.debugging.assert_less_equal(
        tf.reduce_max(tf.abs(waveform)),
        MAX_SAMPLE,
        f"expected waveform samples that are finite numbers within {MAX_SAMPLE:g}, nominally in -1...1; replace them "
        "before the call",
    )
