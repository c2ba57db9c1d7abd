"""All that users call, imported at once: so every layer is registered with Keras, and saved models load.

`layers` itself imports this module when one of its names is first asked for.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from layers.augmentation.mixup import mixup
from layers.augmentation.registry import AUGMENTATIONS, build_augmentations
from layers.augmentation.spec_augment import SpecAugment
from layers.augmentation.waveform import (
    random_equalizer,
    random_gain,
    random_noise,
    random_polarity,
    random_time_shift,
)
from layers.classifier import build_audio_classifier
from layers.front_ends.leaf import Leaf
from layers.front_ends.learnable_mel import PcenMelSpectrogram, TrainableMelSpectrogram
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.mfcc import mfcc, time_statistics
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram
from layers.front_ends.pcen import Pcen
from layers.front_ends.registry import FRONT_ENDS, build_front_end
from layers.networks.imagenet import load_backbone_weights
from layers.networks.musicnn import load_musicnn_weights, musicnn_tagger
from layers.networks.registry import NETWORKS

if TYPE_CHECKING:
    import keras

__all__ = [
    "AUGMENTATIONS",
    "FRONT_ENDS",
    "NETWORKS",
    "Leaf",
    "LogMelSpectrogram",
    "MusicnnMelSpectrogram",
    "Pcen",
    "PcenMelSpectrogram",
    "SpecAugment",
    "TrainableMelSpectrogram",
    "build_audio_classifier",
    "build_augmentations",
    "build_front_end",
    "load_backbone_weights",
    "load_model",
    "load_musicnn_weights",
    "mfcc",
    "mixup",
    "musicnn_tagger",
    "random_equalizer",
    "random_gain",
    "random_noise",
    "random_polarity",
    "random_time_shift",
    "time_statistics",
]


def load_model(path: str | PathLike[str], compile: bool = True) -> keras.Model:
    """Loads a `.keras` file whose model has layers of this package, such as a run's model.keras.

    It is `keras.models.load_model`, after every layer of this package has been registered with Keras.

    Args:
        path: of the file.
        compile: whether to compile the model as it was compiled when it was saved.

    Returns:
        The model.

    Raises:
        ValueError: there is no such file, or it is no Keras model.

    Example:
        >>> import layers
        >>> front_end = layers.LogMelSpectrogram(n_mels=32)
        >>> layers.build_audio_classifier("cnn2d_bn", num_classes=3, front_end=front_end).save(model_path)
        >>> layers.load_model(model_path)(np.zeros([2, 22050], np.float32)).shape
        TensorShape([2, 3])
    """
    import keras  # by now the layers have said so if it runs on another backend

    return keras.models.load_model(path, compile=compile)
