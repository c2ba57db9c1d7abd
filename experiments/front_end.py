"""The front end that an experiment's settings describe."""

from __future__ import annotations

from experiments.settings import Settings
from layers.log_mel import LogMelSpectrogram


def build_front_end(settings: Settings, scaling: str | None = None) -> LogMelSpectrogram:
    """Builds the layer from waveform to log-mel image.

    Args:
        settings: of the experiment.
        scaling: instead of the settings' own.

    Raises:
        ValueError: a setting is out of range, or the settings' crops are shorter than a window.
    """
    crop_samples = round(settings.crop_seconds * settings.sample_rate_hz)  # 0: whole clips
    if 0 < crop_samples < settings.n_fft:
        raise ValueError(
            f"expected crops of at least n_fft={settings.n_fft} samples, received {crop_samples} "
            f"({settings.crop_seconds:g} s at {settings.sample_rate_hz} Hz); use a longer --crop_seconds or smaller --n_fft"
        )
    return LogMelSpectrogram(
        sample_rate_hz=settings.sample_rate_hz,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
        fmin_hz=settings.fmin_hz,
        fmax_hz=settings.fmax_hz,
        pad_mode=settings.pad_mode,
        top_db=settings.top_db,
        scaling=scaling or settings.scaling,
        name="log_mel",
    )
