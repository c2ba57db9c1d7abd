"""The augmentations by name, in the order in which they are applied to a training batch.

To add one, write its function or layer in a file of this folder, list it in `AUGMENTATIONS`, and add its settings to
`experiments.settings`, which makes flags of them. What trains, draws pictures or checks settings follows this table.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from layers.augmentation.mixup import mixup
from layers.augmentation.spec_augment import SpecAugment
from layers.augmentation.waveform import (
    random_equalizer,
    random_gain,
    random_noise,
    random_polarity,
    random_time_shift,
)

Kind = Literal["waveform", "mixture", "image"]
# Settings that an augmentation may take and that are not its own.
_SHARED = ("sample_rate_hz", "seed")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """One entry of the registry.

    Attributes:
        kind: what `apply` is. "waveform": a function (waveform [batch, samples], seed [2], **arguments) -> waveform.
            "mixture": a function (waveform, targets [batch, classes], seed, **arguments) -> (waveform, targets), which
            is applied after those of waveforms. "image": the class of a Keras layer that stands between front end and
            network, from an image [batch, frames, n_mels, 1] to one of the same shape, and acts in training only.
        apply: the function, or the class of the layer.
        strengths: the settings that switch it on: it is off while each of them is `off`.
        arguments: the setting that gives the value, by name of the argument.
        off: the value of a strength that is switched off.
        check: is called with all settings where it is on, and raises a ValueError if they do not fit together.
    """

    kind: Kind
    apply: Callable[..., Any]
    strengths: tuple[str, ...]
    arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    off: float | None = 0
    check: Callable[[Mapping[str, Any]], None] = lambda settings: None

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of its own settings."""
        return tuple(dict.fromkeys(name for name in (*self.arguments.values(), *self.strengths) if name not in _SHARED))

    def is_on(self, settings: Mapping[str, Any]) -> bool:
        """Whether settings, by name, switch it on."""
        return any(settings[name] != self.off for name in self.strengths)


def _check_noise(settings: Mapping[str, Any]) -> None:
    low, high = settings["noise_snr_db_min"], settings["noise_snr_db_max"]
    if low is None or high is None or low > high:
        raise ValueError(
            f"expected noise_snr_db_min <= noise_snr_db_max, or neither of them for no noise, received {low} and {high}"
        )


def _check_masks(settings: Mapping[str, Any]) -> None:
    for axis in ("time", "mel"):
        masks, width = (settings[f"spec_augment_{axis}_{what}"] for what in ("masks", "width"))
        if masks and not width:
            raise ValueError(
                f"expected spec_augment_{axis}_width of at least 1 with spec_augment_{axis}_masks={masks}, received 0"
            )


# From the source to the recording: what is played, the room, the level, and then the noise, at its ratio to all that.
# Draws follow from the position among those that are on: one that is off does not change the draws of the others.
AUGMENTATIONS: dict[str, Augmentation] = {
    "time_shift": Augmentation(
        "waveform",
        random_time_shift,
        ("time_shift_seconds",),
        {"sample_rate_hz": "sample_rate_hz", "max_seconds": "time_shift_seconds"},
    ),
    "random_eq": Augmentation(
        "waveform",
        random_equalizer,
        ("random_eq_db",),
        {"sample_rate_hz": "sample_rate_hz", "max_gain_db": "random_eq_db"},
    ),
    "gain": Augmentation("waveform", random_gain, ("gain_db",), {"max_gain_db": "gain_db"}),
    "polarity_inversion": Augmentation("waveform", random_polarity, ("polarity_inversion",)),
    "noise": Augmentation(
        "waveform",
        random_noise,
        ("noise_snr_db_min", "noise_snr_db_max"),
        {"min_snr_db": "noise_snr_db_min", "max_snr_db": "noise_snr_db_max"},
        off=None,
        check=_check_noise,
    ),
    "mixup": Augmentation("mixture", mixup, ("mixup_alpha",), {"alpha": "mixup_alpha"}),
    "spec_augment": Augmentation(
        "image",
        SpecAugment,
        ("spec_augment_time_masks", "spec_augment_mel_masks"),
        {
            "time_masks": "spec_augment_time_masks",
            "time_width": "spec_augment_time_width",
            "mel_masks": "spec_augment_mel_masks",
            "mel_width": "spec_augment_mel_width",
            "seed": "seed",
        },
        check=_check_masks,
    ),
}


def build_augmentations(kind: Kind, settings: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Makes the augmentations of one kind that are on.

    Args:
        kind: as in `Augmentation`.
        settings: all settings of a run by name; those of other parts of it do no harm.

    Returns:
        By name, in the order of application: functions that lack only the batch and its seed, or new layers, which have
        the augmentation's name.

    Raises:
        ValueError: settings of an augmentation are out of range or do not fit together.

    Example:
        >>> from layers.augmentation.registry import AUGMENTATIONS, build_augmentations
        >>> off = {name: entry.off for entry in AUGMENTATIONS.values() for name in entry.strengths}
        >>> on = build_augmentations("waveform", off | {"gain_db": 6.0})
        >>> on["gain"](tf.zeros([2, 1000]), seed=[0, 1]).shape
        TensorShape([2, 1000])
    """
    built: dict[str, Callable[..., Any]] = {}
    for name, entry in AUGMENTATIONS.items():
        if entry.kind != kind or not entry.is_on(settings):
            continue
        entry.check(settings)
        arguments = {argument: settings[setting] for argument, setting in entry.arguments.items()}
        if kind == "image":
            built[name] = entry.apply(**arguments, name=name)
        else:
            built[name] = functools.partial(entry.apply, **arguments)
    return built
