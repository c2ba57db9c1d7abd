"""From waveforms to logits: front ends, networks and augmentations as Keras layers and functions.

Example:
    >>> import layers
    >>> front_end = layers.build_front_end("pcen", sample_rate_hz=16000, n_mels=64)
    >>> model = layers.build_audio_classifier("crnn", num_classes=3, front_end=front_end)
    >>> model(np.zeros([2, 80000], np.float32)).shape  # two crops of 5 s
    TensorShape([2, 3])

Importing the package registers its layers with Keras, so that saved models load.
"""

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
from layers.front_ends.pcen import Pcen
from layers.front_ends.registry import FRONT_ENDS, build_front_end
from layers.networks.registry import NETWORKS

__all__ = [
    "AUGMENTATIONS",
    "FRONT_ENDS",
    "NETWORKS",
    "Leaf",
    "LogMelSpectrogram",
    "Pcen",
    "PcenMelSpectrogram",
    "SpecAugment",
    "TrainableMelSpectrogram",
    "build_audio_classifier",
    "build_augmentations",
    "build_front_end",
    "mixup",
    "random_equalizer",
    "random_gain",
    "random_noise",
    "random_polarity",
    "random_time_shift",
]
