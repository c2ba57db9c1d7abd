"""The whole model: waveform in, probabilities out, with the front end inside."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from layers.keras_settings import require_channels_last
from layers.networks.registry import get_network


def build_audio_classifier(
    network: str,
    num_classes: int,
    front_end: keras.layers.Layer | None,
    crop_samples: int | None = None,
    image_augmentations: Sequence[keras.layers.Layer] = (),
    multi_label: bool = False,
) -> keras.Model:
    """Builds the functional model that is trained, saved and exported.

    Args:
        network: a name in `layers.networks.registry.NETWORKS`.
        num_classes: number of labels.
        front_end: a layer from waveform [batch, samples] to image [batch, frames, n_mels, 1]; left out, and may be
            None, where the network takes the waveform itself.
        crop_samples: length of the waveforms that it will be given, to refuse one too short for the network now
            rather than in the middle of a run. The model itself takes any length.
        image_augmentations: layers from image to image of the same shape, in order, that act in training only.
        multi_label: whether a waveform may have several labels: then each probability is a label's own, a sigmoid;
            otherwise they are a softmax and sum to one.

    Returns:
        A model from float32 `waveform` [batch, samples] to float32 `probabilities` [batch, num_classes]. The layer
        `embedding` holds the input of the last dense layer, [batch, units].

    Raises:
        ValueError: unknown network, no front end, crops or mel bands too few for it, or Keras set to another order of an
            image's axes.

    Example:
        >>> from layers.classifier import build_audio_classifier
        >>> from layers.front_ends.log_mel import LogMelSpectrogram
        >>> model = build_audio_classifier("cnn2d_bn", num_classes=3, front_end=LogMelSpectrogram(n_mels=32))
        >>> model(np.zeros([2, 22050], np.float32)).shape
        TensorShape([2, 3])
    """
    require_channels_last()
    entry = get_network(network)
    if num_classes < 2:
        raise ValueError(f"expected at least 2 labels to tell apart, received {num_classes}; choose more genres")
    if entry.takes_waveform:
        front_end = None
        sizes = [("samples", crop_samples, "a longer crop_seconds")]
    elif front_end is None:
        raise ValueError(
            f"model {network!r} expected a front end, received none; name one of `layers.front_ends.registry`"
        )
    else:
        _, frames, n_mels, _ = front_end.compute_output_shape((None, crop_samples))
        sizes = [
            ("frames", frames, "a longer crop_seconds or a smaller hop_length"),
            ("mel bands", n_mels, "a larger n_mels"),
        ]
    for what, size, remedy in sizes:
        if size is not None and size < entry.min_size:
            raise ValueError(
                f"model {network!r} expected at least {entry.min_size} {what}, received {size}; use {remedy}"
            )
    waveform = keras.Input((None,), dtype="float32", name="waveform")
    features = front_end(waveform) if front_end else waveform
    for augmentation in image_augmentations if front_end else ():
        features = augmentation(features)  # [batch, frames, n_mels, 1]
    embedding = keras.layers.Identity(name="embedding")(entry.build(features))  # [batch, units]
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(embedding)
    if multi_label:
        probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    else:
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(waveform, probabilities, name=network)
