"""Networks in a small size, each built once."""

import functools

import keras

from layers.classifier import build_audio_classifier
from layers.front_ends.registry import FrontEnd, build_front_end
from layers.networks.registry import NETWORKS

# Parameters with a head for three classes, at 128 mels, or with the only front end that the network takes.
PARAMETERS = {
    "cnn2d": 202_115,
    "cnn2d_bn": 98_259,
    "short_chunk_resnet": 10_757_383,
    "efficientnetv2_b0": 5_923_155,
    "convnext_tiny": 27_822_435,
    "conv1d_lstm": 264_067,
    "crnn": 405_287,
    "audio_transformer": 826_627,
    "musicnn": 782_632,
    "musicnn_pair": 1_565_261,
    "sample_cnn": 1_848_707,
}
# Building these takes seconds: they are built once here, and test_imagenet.py does what needs another.
LARGE = ("efficientnetv2_b0", "convnext_tiny")
SMALL = {"sample_rate_hz": 8000, "n_fft": 256, "hop_length": 128, "scaling": "standardized"}


def build(network: str, front_end: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_audio_classifier(network, 3, small_front_end(network, front_end))


def small_front_end(network: str, front_end: str) -> FrontEnd:
    """A front end with few bands; of a network that takes one with its own settings only, that one."""
    own = NETWORKS[network].front_end
    return build_front_end(own) if own else build_front_end(front_end, n_mels=32, **SMALL)


built_once = functools.cache(build)
