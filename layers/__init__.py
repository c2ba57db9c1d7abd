"""From waveforms to logits: front ends, networks and augmentations as Keras layers and functions.

All that users call can be imported from here. TensorFlow takes seconds to load: it is loaded when one of these names is
first asked for.

A whole classifier, with the front end inside (networks: `layers.NETWORKS`; front ends: `layers.FRONT_ENDS`):
    >>> from layers import LogMelSpectrogram, build_audio_classifier
    >>> model = build_audio_classifier("cnn2d_bn", num_classes=3, front_end=LogMelSpectrogram(n_mels=64))
    >>> model(np.zeros([2, 110250], np.float32)).shape  # two crops of 5 s at 22,050 Hz
    TensorShape([2, 3])

A front end as the first layer of your own model (also `PcenMelSpectrogram`, `Leaf` and others):
    >>> model = keras.Sequential([
    ...     LogMelSpectrogram(sample_rate_hz=16000, n_fft=1024, hop_length=256, n_mels=64),
    ...     keras.layers.Conv2D(16, 3, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(3, activation="softmax"),
    ... ])
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> history = model.fit(np.zeros([4, 16000], np.float32), np.array([0, 1, 2, 0]), verbose=0)

A front end in a `tf.data` pipeline, on batches or on single waveforms:
    >>> front_end = LogMelSpectrogram(sample_rate_hz=16000)
    >>> dataset = tf.data.Dataset.from_tensors((tf.zeros([4, 16000]), [0, 1, 2, 0]))
    >>> dataset = dataset.map(lambda waveform, label: (front_end(waveform), label))

Saved models, such as model.keras of a run, consist of layers that Keras does not know by itself:
    >>> import layers
    >>> model.save(model_path)
    >>> model = layers.load_model(model_path)
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layers.public import *

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
_ROOMS = ("augmentation", "classifier", "front_ends", "networks")


def __getattr__(name: str) -> Any:
    if name not in __all__ and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module("layers.public")  # all at once, because saved models may consist of any of them
    return getattr(public, name) if name in __all__ else importlib.import_module(f"layers.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_ROOMS])


if "keras" in sys.modules:  # then it costs nothing, and keras.models.load_model works from here on
    importlib.import_module("layers.public")
