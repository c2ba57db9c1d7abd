"""The settings of an experiment, each written down once; `settings_flags` makes absl flags of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

FRONT_ENDS = (
    "log_mel",
    "trainable_mel",
    "pcen",
    "leaf",
)  # the names in `layers.front_ends.registry`, which loads TensorFlow
DATASETS = ("fma", "folders", "csv", "demo", "records")


def _setting(default: Any, group: str, help_text: str, choices: tuple[str, ...] = ()) -> Any:
    return dataclasses.field(default=default, metadata={"group": group, "help": help_text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training run. Field names are flag names; units are in the names."""

    dataset: str = _setting("demo", "data", "Kind of data set.", DATASETS)
    data_dir: str = _setting(
        "data/demo",
        "data",
        "fma, demo: folder with fma_metadata/ and fma_small/ …; folders: root of <label>/**/*.mp3; csv: the table itself "
        "(columns path, label, optionally split, artist, album, title, track_id); records: what pack_records wrote.",
    )
    subset: str = _setting("small", "data", "fma: small, medium, large or full; each includes the smaller ones.")
    genres: tuple[str, ...] = _setting(
        (), "data", "Labels to keep, by name (fma: or id, sub-genres too), comma-separated. Empty: every label."
    )
    keep_known_bad_clips: bool = _setting(
        False, "data", "fma: keep the clips that are known to be empty or wrongly cut."
    )
    allow_artist_leak: bool = _setting(False, "data", "Go on although an artist stands in more than one split.")
    probe_csv: str = _setting("", "data", "Leave out the clips that this file (from probe_audio) calls undecodable.")
    max_failure_rate: float = _setting(0.01, "data", "Share of the files that may be undecodable before a run stops.")
    decoder: str = _setting(
        "soundfile",
        "data",
        "soundfile: every format, exact, fast; tfio: MP3s by graph ops alone, several times slower.",
        ("soundfile", "tfio"),
    )
    frontend: str = _setting(
        "log_mel",
        "features",
        "What makes an image of the waveform: log_mel; trainable_mel: its filters are trained; pcen: mel under trained "
        "per-channel energy normalisation; leaf: Gabor filters, pooling and normalisation, all trained. A network that "
        "takes the waveform has none.",
        FRONT_ENDS,
    )
    sample_rate_hz: int = _setting(22050, "features", "Sample rate that every clip is resampled to, in Hz.")
    crop_seconds: float = _setting(5.0, "features", "Length of a crop in seconds; 0 is the whole clip.")
    crops_per_clip: int = _setting(4, "training", "Random crops of each clip a training epoch.")
    n_fft: int = _setting(2048, "features", "Window and FFT length in samples.")
    hop_length: int = _setting(512, "features", "Samples between frames.")
    n_mels: int = _setting(128, "features", "Number of mel bands.")
    fmin_hz: float = _setting(0.0, "features", "Lower edge of the mel bands in Hz.")
    fmax_hz: float | None = _setting(
        None, "features", "Upper edge of the mel bands in Hz; default half the sample rate."
    )
    pad_mode: str = _setting("reflect", "features", "Padding of the ends of a waveform.", ("reflect", "constant"))
    top_db: float = _setting(80.0, "features", "Dynamic range below the loudest bin in dB.")
    scaling: str = _setting(
        "standardized",
        "features",
        "standardized: zero mean, unit variance; unit: dB mapped to 0…1 (log_mel and trainable_mel).",
        ("unit", "standardized"),
    )
    model: str = _setting("cnn2d_bn", "training", "Network by name; a wrong name lists them.")
    pretrained_weights: str = _setting(
        "",
        "training",
        "efficientnetv2_b0, convnext_tiny: a file of keras.applications' weights to start from (.weights.h5, .h5, .keras).",
    )
    multi_label: bool = _setting(
        False,
        "data",
        "A clip may have several labels: fma: every chosen genre that it belongs to, so a genre and one below it too; "
        "others: labels separated by |. Each label gets a probability of its own and a threshold from validation.",
    )
    epochs: int = _setting(30, "training", "Passes over the training clips at most.")
    batch_size: int = _setting(16, "training", "Crops a batch.")
    learning_rate: float = _setting(1e-3, "training", "Adam's learning rate at the start.")
    label_smoothing: float = _setting(
        0.1,
        "training",
        "Share of each training label that is spread over all labels, 0…1: fewer overconfident errors. Not with "
        "--multi_label, where it would drown rare labels.",
    )
    class_balance: str = _setting(
        "none",
        "training",
        "For labels with unequal numbers of clips. weights: rare labels weigh more in the loss (with --multi_label: a "
        "label's clips as much as all others); oversample: their clips occur more often, so that an epoch has as many "
        "crops of each label.",
        ("none", "weights", "oversample"),
    )
    early_stopping_patience: int = _setting(20, "training", "Epochs without a better validation loss before stopping.")
    early_stopping_min_delta: float = _setting(0.005, "training", "Smallest fall of the validation loss that counts.")
    plateau_factor: float = _setting(0.8, "training", "Learning rate factor when the validation loss stands still.")
    plateau_patience: int = _setting(2, "training", "Epochs without a better validation loss before that.")
    spec_augment_time_masks: int = _setting(0, "training", "SpecAugment: masks over frames for each crop.")
    spec_augment_time_width: int = _setting(40, "training", "SpecAugment: widest mask in frames.")
    spec_augment_mel_masks: int = _setting(0, "training", "SpecAugment: masks over mel bands for each crop.")
    spec_augment_mel_width: int = _setting(24, "training", "SpecAugment: widest mask in mel bands.")
    mixup_alpha: float = _setting(
        0.0,
        "training",
        "Mix pairs of crops and their labels, with weights of Beta(alpha, alpha), alpha being 0.1 to 1 or so; 0: off. "
        "The training loss and accuracy are then those of the label with the larger share.",
    )
    time_shift_seconds: float = _setting(
        0.0, "training", "Shift each crop in a circle by up to this many seconds either way; 0: off."
    )
    random_eq_db: float = _setting(
        0.0, "training", "Filter each crop by a random smooth curve of gains within ± this many dB; 0: off."
    )
    gain_db: float = _setting(
        0.0,
        "training",
        "Change each crop's level by up to ± this many dB; 0: off. The log-mel features, which are relative to the "
        "loudest bin, show it only in mixtures (--mixup_alpha).",
    )
    polarity_inversion: bool = _setting(
        False, "training", "Change the sign of half the crops. As for --gain_db, log-mel shows it only in mixtures."
    )
    noise_snr_db_min: float | None = _setting(
        None,
        "training",
        "Add white noise to each crop, at a signal-to-noise ratio of at least this in dB; default: off.",
    )
    noise_snr_db_max: float | None = _setting(None, "training", "And at most this in dB; both or neither.")
    seed: int = _setting(0, "training", "Seed of weights, order, crops, augmentation, dropout and splits.")
    deterministic: bool = _setting(
        False, "training", "Bit-identical repeats (TensorFlow op determinism; slower on GPUs)."
    )
    mixed_precision: bool = _setting(
        False, "training", "Half precision in the network: float16 on a GPU, bfloat16 on a CPU. Features stay float32."
    )
    jit_compile: bool = _setting(False, "training", "Compile the step with XLA: for GPUs; on CPUs it is slower.")
    keep_checkpoints: int = _setting(2, "training", "Checkpoints kept in the run directory: the last so many.")
    checkpoint_steps: int = _setting(
        0, "training", "Steps between checkpoints within an epoch, for long ones; 0: at the end of each epoch only."
    )
    replicas: int = _setting(
        0,
        "training",
        "Copies of the model, which share each batch; 0: one on each GPU, or one on the CPU of each host. On a CPU as many "
        "copies as a run on several hosts had repeat that run bit for bit, while every clip can be decoded.",
    )
    shuffle_clips: int = _setting(
        0,
        "training",
        "Clips that are shuffled together; 0: all. A number, such as 4096, is for data larger than memory on disks or "
        "networks that are slow at random reads: so many clips, in runs from 16 places, are read from beginning to end "
        "before their crops are taken. Twice as many should fit in memory.",
    )
    decode_workers: int = _setting(
        0, "data", "Parallel decodes; 0: as many as there are cores. Results do not depend on it."
    )
    data_service: str = _setting(
        "",
        "training",
        "Address of a tf.data service that decodes the training crops, grpc://host:port of its dispatcher (see "
        "experiments.data_service). It implies --decoder=tfio; files must have the same paths on its hosts. Results do "
        "not depend on it, nor on whether the service stays up.",
    )

    def as_json(self) -> str:
        """The contents of settings.json."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


# What the settings of earlier versions lack: their runs had the default.
ADDED_FIELDS = frozenset(
    (
        *("decoder", "frontend", "pretrained_weights", "class_balance", "multi_label"),
        *("spec_augment_time_masks", "spec_augment_time_width", "spec_augment_mel_masks", "spec_augment_mel_width"),
        *("mixup_alpha", "time_shift_seconds", "random_eq_db", "gain_db", "polarity_inversion"),
        *("noise_snr_db_min", "noise_snr_db_max", "keep_checkpoints", "checkpoint_steps", "data_service"),
        *("shuffle_clips", "replicas"),
    )
)

# What may differ when a run is continued: it changes the speed, what is lost by a kill or when to give up, not the result;
# but for `replicas`, by which, as by the number of hosts, draws and rounding change from there on.
FREE_FIELDS = frozenset(
    ("decode_workers", "data_service", "max_failure_rate", "keep_checkpoints", "checkpoint_steps", "replicas")
)
# What records were packed with, and need not be told again.
_SELECTION = ("subset", "genres", "keep_known_bad_clips", "probe_csv")


def require_one_label(settings: Settings, what: str) -> None:
    """Refuses settings of several labels a clip.

    Raises:
        ValueError: they are.
    """
    if settings.multi_label:
        raise ValueError(f"expected one label a clip for {what}, received --multi_label; leave it out")


def fields(*groups: str) -> list[str]:
    """Names of the settings of these groups."""
    return [field.name for field in dataclasses.fields(Settings) if field.metadata["group"] in groups]


def read_settings(path: Path) -> Settings:
    """Reads a run's settings.json.

    Raises:
        ValueError: it is missing, damaged, or of another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"expected a run directory with {path.name}, found no {path}; train first") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"expected settings as JSON in {path}, but it cannot be read: {error}") from error
    names = {field.name for field in dataclasses.fields(Settings)}
    if not isinstance(values, dict) or not names - ADDED_FIELDS <= set(values) <= names:
        odd = sorted(names ^ set(values)) if isinstance(values, dict) else ["(not an object)"]
        raise ValueError(
            f"expected the settings of this version in {path}; these are missing or unknown: {', '.join(odd)}"
        )
    for field in dataclasses.fields(Settings):
        if field.name in values and not _fits(values[field.name], field):
            kind = f"one of {', '.join(field.metadata['choices'])}" if field.metadata["choices"] else field.type
            raise ValueError(
                f"expected {field.name} as {kind} in {path}, found {values[field.name]!r}; mend it, or begin another run"
            )
    return Settings(**{**values, "genres": tuple(values["genres"])})


def _fits(value: Any, field: dataclasses.Field) -> bool:
    """Whether a value from JSON is of a setting's type, and among its choices."""
    if field.type == "tuple[str, ...]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if value is None:
        return "None" in str(field.type)
    kinds = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float), "float | None": (int, float)}
    if not isinstance(value, kinds[str(field.type)]) or (isinstance(value, bool) and field.type != "bool"):
        return False
    return value in (field.metadata["choices"] or (value,))


def differences(old: Settings, new: Settings) -> list[str]:
    """One line for each setting that differs and changes results.

    A run may go on from records of its files, or from the files of its records: whether the clips are the same is for
    the data's identity to say.
    """
    free = FREE_FIELDS | ({"dataset", "data_dir", *_SELECTION} if "records" in (old.dataset, new.dataset) else set())
    return [
        f"{name}: {getattr(old, name)!r} there, {getattr(new, name)!r} now"
        for name in (field.name for field in dataclasses.fields(Settings))
        if name not in free and getattr(old, name) != getattr(new, name)
    ]
