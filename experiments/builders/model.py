"""The model that the settings describe."""

from __future__ import annotations

import keras

from experiments.builders.augmentation import image_augmentations
from experiments.builders.freezing import freeze_layers
from experiments.builders.optimizer import make_optimizer
from experiments.builders.pretrained import load_pretrained
from experiments.settings import Settings
from layers.classifier import build_audio_classifier
from layers.front_ends import registry as front_ends
from layers.front_ends.log_mel import LogMelSpectrogram
from layers.front_ends.registry import FrontEnd
from layers.networks.registry import get_network


def build_model(settings: Settings, num_classes: int) -> keras.Model:
    """Builds and compiles the waveform-in model that the settings describe.

    Raises:
        ValueError: settings that do not fit together.
    """
    front_end: FrontEnd | None = None
    if not get_network(settings.model).takes_waveform:
        front_end = build_front_end(settings)
    elif settings.frontend != "log_mel":
        raise ValueError(
            f"expected no --frontend with --model={settings.model}, which takes the waveform itself, received "
            f"{settings.frontend}; leave it out"
        )
    wanted = get_network(settings.model).front_end
    if wanted and settings.frontend != wanted:
        raise ValueError(
            f"expected --frontend={wanted} with --model={settings.model}, received {settings.frontend}; leave it out"
        )
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz) or None
    model = build_audio_classifier(
        settings.model, num_classes, front_end, crop_samples, image_augmentations(settings), settings.multi_label
    )
    if settings.pretrained_weights:
        load_pretrained(model, settings)
    freeze_layers(model, settings.freeze)
    model.compile(make_optimizer(settings))  # wraps it for float16 loss scaling where needed
    model.optimizer.build(model.trainable_variables)
    return model


def build_front_end(settings: Settings, name: str | None = None, scaling: str | None = None) -> FrontEnd:
    """Builds the layer from waveform to image that the settings describe.

    Args:
        settings: of the run.
        name: another front end than theirs.
        scaling: another than theirs, of those that the front end has.

    Raises:
        ValueError: a setting is out of range, or the settings' crops are too short for one frame.
    """
    front_end = front_ends.build_front_end(
        name or settings.frontend,
        sample_rate_hz=settings.sample_rate_hz,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
        fmin_hz=settings.fmin_hz,
        fmax_hz=settings.fmax_hz,
        pad_mode=settings.pad_mode,
        top_db=settings.top_db,
        scaling=scaling or settings.scaling,
    )
    has_n_fft = isinstance(front_end, LogMelSpectrogram)
    shortest = settings.n_fft if has_n_fft else front_end.min_samples
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz)  # 0: whole clips
    if 0 < crop_samples < shortest:
        raise ValueError(
            f"expected crops of at least {'n_fft=' * has_n_fft}{shortest} samples, received {crop_samples} "
            f"({settings.crop_seconds:g} s at {settings.sample_rate_hz} Hz); use a longer --crop_seconds or smaller "
            f"{'--n_fft' if has_n_fft else '--hop_length'}"
        )
    return front_end
