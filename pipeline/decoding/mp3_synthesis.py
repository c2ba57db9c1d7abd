"""The back half of the MP3 decoder as a Keras layer: from the lines of granules to a waveform, on the device that trains.

Its tables are those of `pipeline.mp3.native`, which does the same in compiled kernels on the CPU: they are in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.decoding.line_batches import line_specs
from pipeline.mp3.native import line_crops
from pipeline.mp3.native.half_band import FIRST_SOURCE, FIRST_TARGET, SUBBAND_WEIGHTS
from pipeline.mp3.native.hybrid import ALIAS_CROSS, ALIAS_KEEP, SHORT, SLOTS, WINDOWS, long_matrix, short_matrix
from pipeline.mp3.native.lines import MIXED
from pipeline.mp3.native.synthesis import BANDS, HALF_BANDS, HISTORY, subband_filters

_NEW = 2 * SLOTS  # samples that a granule makes of a subband; the second half overlaps with the next granule's first
_KINDS = 9  # block types, with and without mixed blocks, and NO_GRANULE
_TF32_MASK = np.int32(-(1 << 13))  # keeps what fits in a number of TensorFloat-32


@keras.saving.register_keras_serializable(package="melstream")
class Mp3Synthesis(keras.layers.Layer):
    """Lines of MP3s, as `train_dataset(..., yields="lines")` has them, to waveforms [batch, crop_samples].

    The waveforms are those of `yields="waveforms"` within 1e-5. Computes in float32 under every precision policy, and on GPUs
    with all of its bits (without TensorFloat-32). An example's waveform does not depend on the rest of its batch. It has no
    weights. On a CPU the compiled kernels of the usual way are quicker: this is for GPUs.

    Source: 11172-3 2.4.3.4.10 and 2.4.3.2.2, see `pipeline.mp3.native`.

    Args:
        crop_samples: length of the waveforms.

    Raises:
        ValueError: it is too small.

    Example:
        >>> from pipeline import Mp3Synthesis, train_dataset
        >>> train = train_dataset(paths, [0, 1, 0], crop_seconds=2.0, yields="lines")  # of three MP3s
        >>> synthesis = Mp3Synthesis(crop_samples=44100)
        >>> network = keras.Sequential([keras.layers.Reshape([44100, 1]), keras.layers.GlobalMaxPooling1D(),
        ...                             keras.layers.Dense(2, activation="softmax")])  # takes waveforms
        >>> inputs = synthesis.make_inputs()
        >>> model = keras.Model(inputs, network(synthesis(inputs)))  # takes lines
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> history = model.fit(train, verbose=0)
        >>> network(tf.zeros([2, 44100])).shape
        TensorShape([2, 2])
    """

    def __init__(self, crop_samples: int, **kwargs: Any):
        kwargs |= {"dtype": "float32", "autocast": False}
        super().__init__(**kwargs)
        if crop_samples < line_crops.MIN_CROP_SAMPLES:
            raise ValueError(
                f"expected crop_samples of at least {line_crops.MIN_CROP_SAMPLES} for Mp3Synthesis, received {crop_samples}"
            )
        self.crop_samples = crop_samples
        self._granules = line_crops.granule_rows(crop_samples)
        # NumPy arrays are constants of any graph that they get into.
        self._mirrored = _mirrored_tables()
        self._transform = np.concatenate([long_matrix(), short_matrix()]).T.astype(np.float32)  # [18, 72]
        self._gains = _gains()
        # What is sounded `shift` slots later stands before the slot: [shifts, sources, targets].
        self._half_band = SUBBAND_WEIGHTS[:, :, ::-1].transpose(2, 0, 1)
        # [slots, subbands, samples], from the filter's end on
        filters = subband_filters(HALF_BANDS).reshape(HALF_BANDS, HISTORY + 1, BANDS)
        self._filters = filters.transpose(1, 0, 2)[::-1].astype(np.float32)

    def make_inputs(self) -> dict[str, Any]:
        """Returns the `keras.Input`s of a model that begins with this layer."""
        specs = line_specs(self.crop_samples)
        return {name: keras.Input(spec.shape[1:], dtype=spec.dtype.name, name=name) for name, spec in specs.items()}

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Makes the waveforms.

        Args:
            inputs: "lines" [batch, rows, lines of a row], of floating-point numbers, "blocks" and "places" (see `line_batches`).

        Returns:
            float32 [batch, crop_samples].
        """
        lines, blocks = tf.cast(inputs["lines"], tf.float32), tf.cast(inputs["blocks"], tf.int32)
        places = tf.cast(inputs["places"], tf.int32)
        made = self._synthesize(self._to_subbands(lines[:, :-1], blocks, places))
        place = places[:, line_crops.PLACE_FIRST_SAMPLE, tf.newaxis] + 2 * tf.range(self.crop_samples)
        waveform = tf.gather(made, place, batch_dims=1)
        edge = line_crops.EDGE_SAMPLES
        before, behind = lines[:, -1, :edge], lines[:, -1, edge : 2 * edge]
        middle = tf.zeros_like(waveform[:, 2 * edge :])
        waveform += tf.concat([before, middle, behind], axis=1)
        samples = tf.reshape(lines, [-1, lines.shape[1] * lines.shape[2]])[:, : self.crop_samples]
        return tf.where(places[:, line_crops.PLACE_IS_WAVEFORM, tf.newaxis] > 0, samples, waveform)

    def compute_output_shape(self, input_shape: Mapping[str, tuple[int | None, ...]]) -> tuple[int | None, int]:
        """Returns the shape of the waveforms."""
        return input_shape["lines"][0], self.crop_samples

    def compute_output_spec(self, inputs: Mapping[str, Any]) -> keras.KerasTensor:
        """Returns their shape and type."""
        return keras.KerasTensor((inputs["lines"].shape[0], self.crop_samples), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"crop_samples": self.crop_samples}

    def _to_subbands(self, lines: tf.Tensor, blocks: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Lines [batch, rows, 288] to subbands [batch, slots, 16], from the second granule on (see `hybrid`)."""
        rows = self._granules
        lines = tf.reshape(lines, [-1, lines.shape[1], HALF_BANDS, SLOTS])
        # Neighbouring subbands of long blocks share what the filterbank mirrors from one into the other.
        keep, below, above = (tf.gather(table, blocks) for table in self._mirrored)  # [batch, rows, 16, 18]
        mirrored = tf.reverse(lines, [3])
        around = tf.pad(mirrored, [[0, 0], [0, 0], [1, 1], [0, 0]])
        lines = keep * lines + below * around[:, :, :-2] + above * around[:, :, 2:]
        both = tf.matmul(*_factors(lines, self._transform))  # [batch, rows, 16, 72]
        long_gain, short_gain = (tf.gather(table, blocks) for table in self._gains)  # [batch, rows, 16, 36]
        new = long_gain * both[..., :_NEW] + short_gain * both[..., _NEW:]
        # The second channel's of a granule with blocks of different types is added to the first one's.
        owners = places[:, line_crops.PLACE_SPARE_ROWS :, tf.newaxis] - 1
        count = owners.shape[1]
        rank = tf.reshape(count - tf.range(count), [count, 1])
        # [batch, granules]; `count` for none, which is a row of zeros behind the spare ones.
        spare = count - tf.reduce_max(tf.where(owners == tf.range(rows), rank, 0), axis=1)
        new = new[:, :rows] + tf.gather(tf.pad(new[:, rows:], [[0, 0], [0, 1], [0, 0], [0, 0]]), spare, batch_dims=1)
        subbands = new[:, 1:, :, :SLOTS] + new[:, :-1, :, SLOTS:]
        is_coded = blocks[:, 1:rows] != line_crops.NO_GRANULE
        subbands = tf.where(is_coded[:, :, tf.newaxis, tf.newaxis], subbands, 0.0)
        return tf.reshape(tf.transpose(subbands, [0, 1, 3, 2]), [-1, (rows - 1) * SLOTS, HALF_BANDS])

    def _synthesize(self, subbands: tf.Tensor) -> tf.Tensor:
        """Subbands [batch, slots, 16] to samples at the file's rate, of the lower half of its band (see `half_band`)."""
        slots = subbands.shape[1]
        edges = subbands[:, :, FIRST_SOURCE:]
        filtered = tf.nn.conv1d(*_factors(edges, self._half_band), stride=1, padding="SAME")  # [batch, slots, targets]
        kept = subbands[:, :, FIRST_TARGET:FIRST_SOURCE]
        filtered += tf.pad(kept, [[0, 0], [0, 0], [0, filtered.shape[2] - kept.shape[2]]])
        subbands = tf.concat([subbands[:, :, :FIRST_TARGET], filtered], axis=2)
        made = tf.nn.conv1d(*_factors(subbands, self._filters), stride=1, padding="VALID")  # [batch, slots, 32]
        return tf.reshape(made, [-1, (slots - HISTORY) * BANDS])


def _factors(values: tf.Tensor, table: np.ndarray) -> tuple[tf.Tensor, np.ndarray]:
    """Returns what to multiply instead of values [..., inputs] and a table [..., inputs, outputs], for a product of full precision.

    GPUs round factors to 11 bits where TensorFlow allows it, as it does by default. Each is then split in two that lose
    nothing, of which the three larger products are summed.
    """
    if not _rounds_factors():
        return values, table
    high = tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(values, tf.int32), _TF32_MASK), tf.float32)
    table_high = (np.ascontiguousarray(table).view(np.int32) & _TF32_MASK).view(np.float32)
    return (
        tf.concat([values - high, high, high], axis=-1),
        np.concatenate([table_high, table - table_high, table_high], axis=-2),
    )


def _rounds_factors() -> bool:
    return bool(tf.config.list_physical_devices("GPU")) and tf.config.experimental.tensor_float_32_execution_enabled()


def _mirrored_tables() -> tuple[np.ndarray, ...]:
    """Returns by what a line, and the lines mirrored from the subbands below and above, are multiplied [kinds, 16, 18]."""
    keep = np.ones((_KINDS, HALF_BANDS, SLOTS), np.float32)
    below, above = np.zeros_like(keep), np.zeros_like(keep)
    near = len(ALIAS_KEEP)
    for kind in range(_KINDS):
        last = HALF_BANDS - 1
        if kind % MIXED == SHORT:
            last = 1 if kind >= MIXED else 0
        for band in range(last):
            keep[kind, band, ::-1][:near] = ALIAS_KEEP
            above[kind, band, ::-1][:near] = -ALIAS_CROSS
            keep[kind, band + 1, :near] = ALIAS_KEEP
            below[kind, band + 1, :near] = ALIAS_CROSS
    return keep, below, above


def _gains() -> tuple[np.ndarray, np.ndarray]:
    """Returns the windows of long blocks and of short ones, which are 1, with the signs of frequency inversion [kinds, 16, 36]."""
    long, short = np.zeros((2, _KINDS, HALF_BANDS, _NEW), np.float32)
    for kind in range(_KINDS):
        block, is_mixed = kind % MIXED, MIXED <= kind < line_crops.NO_GRANULE
        if block == SHORT:
            short[kind] = 1
        else:
            long[kind] = WINDOWS[block]
        if is_mixed:
            long[kind, :2], short[kind, :2] = WINDOWS[0], 0
    signs = np.ones((HALF_BANDS, _NEW), np.float32)
    signs[1::2, 1::2] = -1
    return long * signs, short * signs
