"""musicnn: a network for music that others have trained on hundreds of thousands of tagged tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from layers.networks.cnn import BATCH_NORM_MOMENTUM

WINDOW_FRAMES = 187  # 3 s, on which it was trained
BACKBONE = "musicnn_backbone"
_BANDS = 96
_TAGS = 50


def musicnn(features: keras.KerasTensor) -> keras.KerasTensor:
    """musicnn: 782,632 parameters with a head for three classes, 782,029 of which others have trained.

    Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", 2019, arXiv:1909.06654, after
    Pons et al., "End-to-end learning for music audio tagging at scale", 2018, arXiv:1711.02520: filters as tall as timbres
    and as long as rhythms, three convolutions over time, and the loudest and the mean of each of their channels. An image is
    cut into windows of 187 frames, as the package does, whose embeddings are averaged; what is left over at the end is not
    heard. An image of fewer frames is one window.

    Args:
        features: image [batch, frames, 96, 1] of `MusicnnMelSpectrogram`.

    Returns:
        Embedding [batch, 200].

    Raises:
        ValueError: the image has another number of bands.
    """
    return _embed(features, [BACKBONE])


def musicnn_pair(features: keras.KerasTensor) -> keras.KerasTensor:
    """Two of `musicnn` side by side: 1,565,261 parameters with a head for three classes.

    One for weights of each of the data sets that its authors have trained it on, which know different things.

    Args:
        features: image [batch, frames, 96, 1] of `MusicnnMelSpectrogram`.

    Returns:
        Embedding [batch, 400].

    Raises:
        ValueError: the image has another number of bands.
    """
    return _embed(features, [f"{BACKBONE}_{number}" for number in range(2)])


def _embed(features: keras.KerasTensor, backbones: Sequence[str]) -> keras.KerasTensor:
    if features.shape[2] != _BANDS:
        raise ValueError(
            f"expected an image of {_BANDS} bands for musicnn, received {features.shape[2]}; use the front end musicnn_mel "
            "with its own settings"
        )
    windows = CutWindows(WINDOW_FRAMES, name="cut_windows")(features)  # [batch * windows, frames, 96, 1]
    embeddings = [musicnn_backbone(name)(windows) for name in backbones]  # each [batch * windows, 200]
    joined = keras.layers.Concatenate()(embeddings) if len(embeddings) > 1 else embeddings[0]
    embedding = MeanOverWindows(WINDOW_FRAMES, name="mean_over_windows")([joined, features])  # [batch, units]
    return keras.layers.Dropout(0.5)(embedding)


def musicnn_backbone(name: str = BACKBONE) -> keras.Model:
    """Builds the network of one window, from [batch, frames, 96, 1] to [batch, 200], with weights that nobody has trained.

    Layers with weights have the names that they have in the checkpoints of the musicnn package.
    """
    window = keras.Input((None, _BANDS, 1), name="window")
    normalized = _batch_norm(0)(window)
    padded = keras.layers.ZeroPadding2D((3, 0))(normalized)
    heard = [_loudest_band(padded, number, 204, (7, bands), "valid") for number, bands in enumerate((38, 67))]
    heard += [_loudest_band(normalized, 2 + i, 51, (frames, 1), "same") for i, frames in enumerate((128, 64, 32))]
    front = keras.layers.Concatenate(name="front")(heard)  # [batch, frames, 561]
    first = _convolution(front, 5)  # [batch, frames, 64]
    second = keras.layers.Add()([_convolution(first, 6), first])
    third = keras.layers.Add()([_convolution(second, 7), second])
    dense = keras.layers.Concatenate()([front, first, second, third])  # [batch, frames, 753]
    # Channel by channel its maximum and its mean, in turn.
    pools = [
        keras.layers.Reshape((dense.shape[-1], 1))(pool()(dense))
        for pool in (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalAveragePooling1D)
    ]
    pooled = keras.layers.Flatten()(keras.layers.Concatenate()(pools))  # [batch, 1506]
    pooled = keras.layers.Dropout(0.5)(_batch_norm(9)(pooled))
    units = keras.layers.Dense(200, activation="relu", name="dense")(pooled)
    return keras.Model(window, _batch_norm(10)(units), name=name)  # [batch, 200]


def musicnn_tagger() -> keras.Model:
    """Builds musicnn as its authors trained it, from images [batch, frames, 96, 1] to the probabilities of 50 tags.

    They are the means over windows of 187 frames; the weights are nobody's until they are loaded.

    Example:
        >>> from layers import MusicnnMelSpectrogram, musicnn_tagger
        >>> tagger = musicnn_tagger()  # then tagger.load_weights(…), with what experiments.fetch_weights has fetched
        >>> tagger(MusicnnMelSpectrogram()(np.zeros([2, 160000], np.float32))).shape  # two clips of 10 s at 16 kHz
        TensorShape([2, 50])
    """
    image = keras.Input((None, _BANDS, 1), name="image")
    units = musicnn_backbone()(CutWindows(WINDOW_FRAMES)(image))  # [batch * windows, 200]
    tags = keras.layers.Dense(_TAGS, activation="sigmoid", dtype="float32", name="dense_1")(units)
    return keras.Model(image, MeanOverWindows(WINDOW_FRAMES)([tags, image]), name="musicnn_tagger")


def load_musicnn_weights(model: keras.Model, paths: Sequence[str | Path]) -> None:
    """Loads the weights of taggers into the backbones of a model; its head stays new.

    Args:
        model: from `build_audio_classifier("musicnn", …)` or `"musicnn_pair"`.
        paths: what `musicnn_tagger().save_weights` wrote, for each backbone.

    Raises:
        ValueError: the model has not so many backbones, or a file is missing or does not fit.

    Example:
        >>> from layers import MusicnnMelSpectrogram, build_audio_classifier, load_musicnn_weights, musicnn_tagger
        >>> musicnn_tagger().save_weights(weights_path)  # or what experiments.fetch_weights has fetched
        >>> model = build_audio_classifier("musicnn", num_classes=3, front_end=MusicnnMelSpectrogram())
        >>> load_musicnn_weights(model, [weights_path])
    """
    backbones = [layer for layer in model.layers if layer.name.startswith(BACKBONE)]
    if len(backbones) != len(paths):
        raise ValueError(
            f"expected a network of {len(paths)} musicnn backbones, received {model.name} with {len(backbones)}"
        )
    tagger = musicnn_tagger()
    for backbone, path in zip(backbones, paths, strict=True):
        try:
            tagger.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"expected musicnn's weights in {path}, but they do not fit: {error}; fetch them again"
            ) from error
        backbone.set_weights(tagger.get_layer(BACKBONE).get_weights())


def _batch_norm(number: int) -> keras.layers.Layer:
    return keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=1e-3, name=f"batch_normalization{_suffix(number)}"
    )


def _suffix(number: int) -> str:
    return f"_{number}" if number else ""


def _loudest_band(
    image: keras.KerasTensor, number: int, filters: int, size: tuple[int, int], padding: str
) -> keras.KerasTensor:
    """Convolves an image [batch, frames, bands, 1] and keeps each filter's loudest band: [batch, frames, filters]."""
    name = f"conv2d{_suffix(number)}"
    x = keras.layers.Conv2D(filters, size, padding=padding, activation="relu", name=name)(image)
    x = keras.layers.MaxPooling2D((1, x.shape[2]))(_batch_norm(number + 1)(x))
    return keras.layers.Reshape((-1, filters))(x)


def _convolution(x: keras.KerasTensor, number: int) -> keras.KerasTensor:
    """Convolves over 7 frames, all channels [batch, frames, channels] to 64."""
    x = keras.layers.Conv1D(64, 7, padding="same", activation="relu", name=f"conv2d_{number}")(x)
    return _batch_norm(number + 1)(x)


@keras.saving.register_keras_serializable(package="melstream")
class CutWindows(keras.layers.Layer):
    """Cuts images [batch, frames, bands, 1] into windows [batch * windows, window_frames, bands, 1], one after another.

    What is left over at the end is dropped; an image of fewer frames is one window, as long as it is.

    Args:
        window_frames: length of a window.
    """

    def __init__(self, window_frames: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.window_frames = window_frames

    def call(self, image: tf.Tensor) -> tf.Tensor:
        _, frames, bands, channels = image.shape
        frames = tf.shape(image)[1] if frames is None else frames
        length = tf.minimum(frames, self.window_frames) if tf.is_tensor(frames) else min(frames, self.window_frames)
        image = image[:, : frames // length * length]
        return tf.reshape(image, [-1, length, bands, channels])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        _, frames, bands, channels = input_shape
        return (None, frames and min(frames, self.window_frames), bands, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window_frames": self.window_frames}


@keras.saving.register_keras_serializable(package="melstream")
class MeanOverWindows(keras.layers.Layer):
    """Averages what a network says of the windows that `CutWindows` cuts.

    Called with [that, float [batch * windows, units], and the images that were cut, [batch, frames, bands, 1]], it returns
    [batch, units].

    Args:
        window_frames: length of a window.
    """

    def __init__(self, window_frames: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.window_frames = window_frames

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        values, image = inputs
        frames = image.shape[1]
        if frames is None:
            windows = tf.maximum(tf.shape(image)[1] // self.window_frames, 1)
        else:
            windows = max(frames // self.window_frames, 1)
        return tf.reduce_mean(tf.reshape(values, [-1, windows, values.shape[-1]]), axis=1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        values, image = input_shape
        return (image[0], values[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window_frames": self.window_frames}
