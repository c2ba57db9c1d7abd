"""The front ends by name, each from waveform [batch, samples] to an image [batch, frames, n_mels, 1].

To add one, write its layer in a file of this folder and list it in `FRONT_ENDS`. Its constructor's arguments have the names
of `LogMelSpectrogram`'s.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import keras

from layers.front_ends.leaf import Leaf
from layers.front_ends.learnable_mel import PcenMelSpectrogram, TrainableMelSpectrogram
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.musicnn_mel import MusicnnMelSpectrogram

FrontEnd = LogMelSpectrogram | Leaf

FRONT_ENDS: dict[str, type[FrontEnd]] = {
    "log_mel": LogMelSpectrogram,
    "trainable_mel": TrainableMelSpectrogram,
    "pcen": PcenMelSpectrogram,
    "leaf": Leaf,
    "musicnn_mel": MusicnnMelSpectrogram,
}


def build_front_end(name: str, **settings: Any) -> FrontEnd:
    """Makes a front end from those of the settings that it has a use for.

    Args:
        name: one of `FRONT_ENDS`; the layer gets it, too.
        settings: arguments of `LogMelSpectrogram`; those that the front end does not have are left out.

    Returns:
        A layer from waveform [batch, samples] to an image [batch, frames, n_mels, 1].

    Raises:
        ValueError: there is none of that name, or a setting is out of its range.

    Example:
        >>> from layers.front_ends.registry import build_front_end
        >>> front_end = build_front_end("leaf", sample_rate_hz=16000, n_fft=1024, hop_length=160, n_mels=40)
        >>> front_end.name, front_end.n_mels
        ('leaf', 40)
    """
    if name not in FRONT_ENDS:
        nearest = difflib.get_close_matches(name, FRONT_ENDS, n=len(FRONT_ENDS), cutoff=0.0)
        raise ValueError(f"expected a front end's name, received {name!r}; choose one of: {', '.join(nearest)}")
    front_end = FRONT_ENDS[name]
    known = inspect.signature(front_end.__init__).parameters
    return front_end(**{key: value for key, value in settings.items() if key in known}, name=name)


def find_front_end(model: keras.Model) -> FrontEnd | None:
    """Finds a model's front end; None where the network takes the waveform itself."""
    return next((layer for layer in model.layers if isinstance(layer, FrontEnd)), None)
