"""The networks by name, each from an image [batch, frames, n_mels, 1], or a waveform, to an embedding [batch, units].

To add one, write its function in a file of this folder and list it in `NETWORKS`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable

import keras

from layers.networks.cnn import cnn2d, cnn2d_bn, short_chunk_resnet
from layers.networks.imagenet import convnext_tiny, efficientnetv2_b0
from layers.networks.musicnn import musicnn, musicnn_pair
from layers.networks.sequence import audio_transformer, conv1d_lstm, crnn
from layers.networks.waveform import sample_cnn


@dataclasses.dataclass(frozen=True)
class Network:
    """One entry of the registry.

    Attributes:
        build: maps an image [batch, frames, n_mels, 1], or a waveform [batch, samples], to an embedding [batch, units].
        min_size: the fewest frames, and the fewest mel bands, that it can be given: with fewer, its convolutions and
            poolings leave nothing, or nothing but padding. Of a network that takes the waveform, the fewest samples.
        takes_waveform: whether it takes the waveform itself, without a front end.
        front_end: the only front end that it takes, in `layers.front_ends.registry`, with the settings that this has by
            default; "": any.
        crop_seconds: length of the crops that it is made for; None: any.
    """

    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    min_size: int
    takes_waveform: bool = False
    front_end: str = ""
    crop_seconds: float | None = None


NETWORKS: dict[str, Network] = {
    "cnn2d": Network(cnn2d, min_size=14),
    "cnn2d_bn": Network(cnn2d_bn, min_size=16),
    "short_chunk_resnet": Network(short_chunk_resnet, min_size=32),
    "efficientnetv2_b0": Network(efficientnetv2_b0, min_size=32),
    "convnext_tiny": Network(convnext_tiny, min_size=32),
    "conv1d_lstm": Network(conv1d_lstm, min_size=4),
    "crnn": Network(crnn, min_size=16),
    "audio_transformer": Network(audio_transformer, min_size=16),
    "musicnn": Network(musicnn, min_size=1, front_end="musicnn_mel", crop_seconds=3.0),
    "musicnn_pair": Network(musicnn_pair, min_size=1, front_end="musicnn_mel", crop_seconds=3.0),
    "sample_cnn": Network(sample_cnn, min_size=6561, takes_waveform=True),
}


def get_network(name: str) -> Network:
    """Looks a network up by name.

    Raises:
        ValueError: there is none of that name; the message lists the names, nearest first.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(name, NETWORKS, n=len(NETWORKS), cutoff=0.0)
        raise ValueError(f"expected a model name, received {name!r}; choose one of: {', '.join(nearest)}")
    return NETWORKS[name]
