"""Image classifiers of keras.applications on log-mel images, from scratch or from weights that the user has."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from layers.networks.cnn import BATCH_NORM_MOMENTUM

_APPLICATIONS = {
    "efficientnetv2_b0": keras.applications.EfficientNetV2B0,
    "convnext_tiny": keras.applications.ConvNeXtTiny,
}
_SUFFIXES = (".weights.h5", ".h5", ".keras")


def efficientnetv2_b0(features: keras.KerasTensor) -> keras.KerasTensor:
    """EfficientNetV2-B0: 5,923,155 parameters with a head for three classes.

    Tan and Le, "EfficientNetV2: smaller models and faster training", 2021, arXiv:2104.00298, as keras.applications has
    it, without preprocessing, and with another momentum of the batch normalisation (see `cnn2d_bn`). The log-mel image
    is repeated into its three channels, so that weights trained on ImageNet fit.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 1280].
    """
    backbone = _on_images("efficientnetv2_b0")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    return keras.layers.Dropout(0.2)(backbone(_three_channels(features)))  # [batch, 1280]


def convnext_tiny(features: keras.KerasTensor) -> keras.KerasTensor:
    """ConvNeXt-T: 27,822,435 parameters with a head for three classes.

    Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, "A ConvNet for the 2020s", 2022, arXiv:2201.03545, as
    keras.applications has it, without preprocessing; it has no batch normalisation. The log-mel image is repeated into its
    three channels, so that weights trained on ImageNet fit. Keras computes its depthwise convolutions, which are
    declared as grouped ones, by XLA, compiled anew for every size; here they are TensorFlow's own.

    Args:
        features: image [batch, frames, n_mels, 1].

    Returns:
        Embedding [batch, 768].
    """
    backbone = keras.models.clone_model(_on_images("convnext_tiny"), clone_function=_without_groups)
    return backbone(_three_channels(features))  # [batch, 768]


@keras.saving.register_keras_serializable(package="melstream")
class DepthwiseGroupedConv2D(keras.layers.Conv2D):
    """A `Conv2D` of stride 1 with a group for each channel, with its weights, as TensorFlow's depthwise convolution."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(inputs, tf.transpose(kernel, [0, 1, 3, 2]), [1, 1, 1, 1], self.padding.upper())


def _without_groups(layer: keras.layers.Layer) -> keras.layers.Layer:
    grouped = isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
    return (DepthwiseGroupedConv2D if grouped else type(layer)).from_config(layer.get_config())


def _on_images(network: str) -> keras.Model:
    """Images [batch, frames, n_mels, 3] of about zero mean and unit variance to embeddings [batch, units]."""
    return _APPLICATIONS[network](
        include_top=False,
        weights=None,  # nothing is ever downloaded
        input_shape=(None, None, 3),
        pooling="avg",
        include_preprocessing=False,
    )


def _three_channels(features: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Concatenate()([features, features, features])


def has_application_weights(model: keras.Model) -> bool:
    """Returns whether the network of a model is one of keras.applications, of which others have weights."""
    return model.name in _APPLICATIONS


def load_backbone_weights(model: keras.Model, path: str | Path) -> None:
    """Loads weights that the user has into the image classifier inside a model; its last dense layer stays new.

    Args:
        model: from `build_audio_classifier`.
        path: weights of the same keras.applications model, with or without its top, for three channels: a
            `.weights.h5` file, Keras's own `..._notop.h5`, or a whole `.keras` model.

    Raises:
        ValueError: the network is not one of keras.applications, or the file is missing or does not fit it.
    """
    path = Path(path)
    if not has_application_weights(model):
        raise ValueError(
            f"expected a network of keras.applications to load {path} into ({', '.join(_APPLICATIONS)}), received "
            f"{model.name!r}; leave --pretrained_weights out or choose another --model"
        )
    if not path.is_file() or not path.name.endswith(_SUFFIXES):
        raise ValueError(f"expected weights in a file that ends in one of {', '.join(_SUFFIXES)}, found none at {path}")
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    # The same model as Keras makes it: files name its layers after their classes.
    original = _on_images(model.name)
    try:
        original.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"expected weights of keras.applications' model for {model.name} in {path}, but they do not fit: {error}"
        ) from error
    backbone.set_weights(original.get_weights())
