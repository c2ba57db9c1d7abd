"""The settings of an experiment. Each is declared once, with its default, help and range; `settings_flags` makes flags of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from experiments.setting_fields import setting, unmet
from pipeline.catalogs.registry import SOURCES, data_dir_help
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER, MAX_WORKERS, decoder_help
from pipeline.windows import MAX_CROP_SECONDS

MAX_EPOCHS = 1_000_000
_MAX_RATE_HZ = 384_000  # the highest that audio hardware uses
_MAX_DB = 200  # more than between the quietest and the loudest sound that 24 bits hold
# As in `layers.front_ends.registry`, which loads TensorFlow.
FRONT_ENDS = ("log_mel", "trainable_mel", "pcen", "leaf", "musicnn_mel")


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training run. Field names are flag names; units are in the names.

    Raises:
        ValueError: a value is of another type than its setting, or outside of its range.
    """

    dataset: str = setting("demo", "data", "Kind of data set.", tuple(SOURCES))
    data_dir: str = setting("data/demo", "data", data_dir_help(), is_path=True)
    subset: str = setting("small", "data", "fma: small, medium, large or full; each includes the smaller ones.")
    genres: tuple[str, ...] = setting(
        (), "data", "Labels to keep, by name (fma: or id, sub-genres too), comma-separated. Empty: every label."
    )
    keep_known_bad_clips: bool = setting(
        False, "data", "fma: keep the clips that are known to be empty or wrongly cut."
    )
    allow_artist_leak: bool = setting(False, "data", "Go on although an artist is in more than one split.")
    probe_csv: str = setting(
        "", "data", "Leave out the clips that this file (from probe_audio) calls undecodable.", is_path=True
    )
    exclude_csv: str = setting(
        "",
        "data",
        "Leave out the clips that this file names in its column clip, such as the one that a page of audit_data saves.",
        is_path=True,
    )
    relabel_csv: str = setting(
        "",
        "data",
        "Give the clips that this file names in its column clip the label of its column likely_label, or else label.",
        is_path=True,
    )
    max_failure_rate: float = setting(
        0.01, "data", "Share of the files that may be undecodable before a run stops.", minimum=0, maximum=1
    )
    decoder: str = setting(
        DEFAULT_DECODER,
        "data",
        decoder_help(),
        tuple(DECODERS),
    )
    frontend: str = setting(
        "log_mel",
        "features",
        "What makes an image of the waveform: log_mel; trainable_mel: its filters are trained; pcen: mel under trained "
        "per-channel energy normalisation; leaf: Gabor filters, pooling and normalisation, all trained; musicnn_mel: "
        "musicnn's. A network that takes the waveform has none.",
        FRONT_ENDS,
    )
    sample_rate_hz: int = setting(
        22050, "features", "Sample rate that every clip is resampled to, in Hz.", minimum=1, limit=_MAX_RATE_HZ
    )
    crop_seconds: float = setting(
        5.0,
        "features",
        "Length of a crop in seconds; 0 is the whole clip, however long.",
        minimum=0,
        maximum=MAX_CROP_SECONDS,
    )
    crops_per_clip: int = setting(
        4, "training", "Random crops of each clip a training epoch.", minimum=1, limit=100_000
    )
    n_fft: int = setting(2048, "features", "Window and FFT length in samples.", minimum=1, limit=1 << 20)
    hop_length: int = setting(512, "features", "Samples between frames.", minimum=1, limit=1 << 20)
    n_mels: int = setting(128, "features", "Number of mel bands.", minimum=1, limit=4096)
    fmin_hz: float = setting(0.0, "features", "Lower edge of the mel bands in Hz.", minimum=0, limit=_MAX_RATE_HZ / 2)
    fmax_hz: float | None = setting(
        None,
        "features",
        "Upper edge of the mel bands in Hz; default half the sample rate.",
        above=0,
        limit=_MAX_RATE_HZ / 2,
    )
    pad_mode: str = setting("reflect", "features", "Padding of the ends of a waveform.", ("reflect", "constant"))
    top_db: float = setting(80.0, "features", "Dynamic range below the loudest bin in dB.", above=0, limit=1000)
    scaling: str = setting(
        "standardized",
        "features",
        "standardized: zero mean, unit variance; unit: dB mapped to 0…1 (log_mel and trainable_mel).",
        ("unit", "standardized"),
    )
    model: str = setting(
        "cnn2d_bn",
        "training",
        "Network or baseline by name; a wrong name lists them. Where none is named: for up to 1,000 training clips, and no other "
        "settings of features or training, musicnn_logistic, if fetch_weights has fetched its weights.",
    )
    pretrained_weights: str = setting(
        "",
        "training",
        "What to start from instead of random weights; the last dense layer is always new. The directory of a run with the same "
        "--model and features, of any labels, or its model.keras; musicnn_msd or musicnn_mtt for musicnn, musicnn_both for "
        "musicnn_pair, any of them for musicnn_logistic (default musicnn_both), which fetch_weights fetches; efficientnetv2_b0, "
        "convnext_tiny: a file of keras.applications' weights (.weights.h5, .h5, .keras).",
        is_path=True,
    )
    freeze: str = setting(
        "none",
        "training",
        "Layers that keep their --pretrained_weights: none; all but the last dense layer; or the first so many layers with "
        "weights, a number. Their batch normalisation and dropout act as in inference.",
    )
    cache_embeddings: bool = setting(
        False,
        "training",
        "musicnn_logistic: keep the embeddings of clips in ~/.cache/melstream (or $XDG_CACHE_HOME), so that other seeds, folds "
        "and settings of the same weights do not compute them again. Not for networks, which hear other crops each epoch.",
    )
    multi_label: bool = setting(
        False,
        "data",
        "A clip may have several labels: fma: every chosen genre that it belongs to, so a genre and one below it too; "
        "others: labels separated by |. Each label gets a probability of its own and a threshold from validation.",
    )
    epochs: int = setting(30, "training", "Passes over the training clips at most.", minimum=1, limit=MAX_EPOCHS)
    batch_size: int = setting(16, "training", "Crops a batch.", minimum=1, limit=65_536)
    learning_rate: float = setting(1e-3, "training", "Adam's learning rate at the start.", above=0, limit=1e30)
    backbone_learning_rate: float | None = setting(
        None,
        "training",
        "The same for all layers but the last dense one, which a schedule lowers alike; default: no difference.",
        above=0,
        limit=1e30,
    )
    label_smoothing: float = setting(
        0.1,
        "training",
        "Share of each training label that is spread over all labels, 0…1: fewer overconfident errors. Not with "
        "--multi_label, where it would drown rare labels.",
        minimum=0,
        below=1,
    )
    class_balance: str = setting(
        "none",
        "training",
        "For labels with unequal numbers of clips. weights: rare labels weigh more in the loss (with --multi_label: a "
        "label's clips as much as all others); oversample: their clips occur more often, so that an epoch has as many "
        "crops of each label.",
        ("none", "weights", "oversample"),
    )
    early_stopping_patience: int = setting(
        20, "training", "Epochs without a better validation loss before stopping.", minimum=0, limit=MAX_EPOCHS
    )
    early_stopping_min_delta: float = setting(
        0.005, "training", "Smallest fall of the validation loss that counts.", minimum=0, limit=1e6
    )
    plateau_factor: float = setting(
        0.8, "training", "Learning rate factor when the validation loss stands still.", above=0, below=1
    )
    plateau_patience: int = setting(
        2, "training", "Epochs without a better validation loss before that.", minimum=0, limit=MAX_EPOCHS
    )
    spec_augment_time_masks: int = setting(
        0, "training", "SpecAugment: masks over frames for each crop.", minimum=0, limit=100
    )
    spec_augment_time_width: int = setting(
        40, "training", "SpecAugment: widest mask in frames.", minimum=0, limit=1_000_000
    )
    spec_augment_mel_masks: int = setting(
        0, "training", "SpecAugment: masks over mel bands for each crop.", minimum=0, limit=100
    )
    spec_augment_mel_width: int = setting(
        24, "training", "SpecAugment: widest mask in mel bands.", minimum=0, limit=4096
    )
    mixup_alpha: float = setting(
        0.0,
        "training",
        "Mix pairs of crops and their labels, with weights of Beta(alpha, alpha), alpha being 0.1 to 1 or so; 0: off. "
        "The training loss and accuracy are then those of the label with the larger share.",
        minimum=0,
        limit=1000,
    )
    time_shift_seconds: float = setting(
        0.0,
        "training",
        "Shift each crop in a circle by up to this many seconds either way; 0: off.",
        minimum=0,
        limit=MAX_CROP_SECONDS,
    )
    random_eq_db: float = setting(
        0.0,
        "training",
        "Filter each crop by a random smooth curve of gains within ± this many dB; 0: off.",
        minimum=0,
        limit=_MAX_DB,
    )
    gain_db: float = setting(
        0.0,
        "training",
        "Change each crop's level by up to ± this many dB; 0: off. The log-mel features, which are relative to the "
        "loudest bin, show it only in mixtures (--mixup_alpha).",
        minimum=0,
        limit=_MAX_DB,
    )
    polarity_inversion: bool = setting(
        False, "training", "Change the sign of half the crops. As for --gain_db, log-mel shows it only in mixtures."
    )
    noise_snr_db_min: float | None = setting(
        None,
        "training",
        "Add white noise to each crop, at a signal-to-noise ratio of at least this in dB; default: off.",
        minimum=-_MAX_DB,
        maximum=_MAX_DB,
    )
    noise_snr_db_max: float | None = setting(
        None, "training", "And at most this in dB; both or neither.", minimum=-_MAX_DB, maximum=_MAX_DB
    )
    seed: int = setting(
        0, "training", "Seed of weights, order, crops, augmentation, dropout and splits.", minimum=0, maximum=2**32 - 1
    )
    deterministic: bool = setting(
        False, "training", "Bit-identical repeats (TensorFlow op determinism; slower on GPUs)."
    )
    mixed_precision: bool = setting(
        False, "training", "Half precision in the network: float16 on a GPU, bfloat16 on a CPU. Features stay float32."
    )
    jit_compile: bool = setting(False, "training", "Compile the step with XLA: for GPUs; on CPUs it is slower.")
    keep_checkpoints: int = setting(
        2, "training", "Checkpoints kept in the run directory: the last so many.", minimum=1, limit=MAX_EPOCHS
    )
    checkpoint_steps: int = setting(
        0,
        "training",
        "Steps between checkpoints within an epoch, for long ones; 0: at the end of each epoch only.",
        minimum=0,
        limit=10**9,
    )
    replicas: int = setting(
        0,
        "training",
        "Copies of the model, which share each batch; 0: one on each GPU, or one on the CPU of each host. On a CPU as many "
        "copies as a run on several hosts had repeat that run bit for bit, while every clip can be decoded.",
        minimum=0,
        limit=1024,
    )
    shuffle_clips: int = setting(
        0,
        "training",
        "Clips that are shuffled together; 0: all. A number, such as 4096, is for data larger than memory on disks or "
        "networks that are slow at random reads: so many clips, in runs from 16 places, are read from beginning to end "
        "before their crops are taken. Twice as many should fit in memory.",
        minimum=0,
        limit=10**9,
    )
    decode_workers: int = setting(
        0,
        "data",
        "Parallel decodes; 0: as many as there are cores. Results do not depend on it.",
        minimum=0,
        limit=MAX_WORKERS,
    )
    decode_on_device: bool = setting(
        False,
        "training",
        "Decode the MP3s of training only as far as the lines of their spectrum, and make the waveforms in the training step: for "
        "GPUs that wait for data; on CPUs it is slower. For files of twice --sample_rate_hz; others are decoded as ever. "
        "Waveforms are the same within 1e-5.",
    )
    data_service: str = setting(
        "",
        "training",
        "Address of a tf.data service that decodes the training crops, grpc://host:port of its dispatcher (see "
        "experiments.data_service), by the decoder of --decoder. Files must have the same paths on its hosts. Results do not "
        "depend on it, nor on whether the service stays up.",
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if expected := unmet(field, value):
                raise ValueError(f"expected {field.name} {expected}, received {value!r}; choose another --{field.name}")
        if not re.fullmatch(r"none|all|[1-9]\d{0,5}", self.freeze):
            raise ValueError(
                f"expected freeze as none, all or a number of layers, received {self.freeze!r}; choose another --freeze"
            )
        if 0 < self.crop_seconds * self.sample_rate_hz < 1:
            raise ValueError(
                f"expected crop_seconds of at least one sample, or 0 for whole clips, received {self.crop_seconds}; choose "
                "another --crop_seconds"
            )

    def as_json(self) -> str:
        """The contents of settings.json."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


# What may differ when a run is continued, because the result does not depend on it: it changes the speed, how much work a
# kill loses, or when to give up. Only `replicas` changes random draws and rounding from there on, as the number of hosts does.
FREE_FIELDS = frozenset(
    (
        *("decode_workers", "data_service", "max_failure_rate", "keep_checkpoints", "checkpoint_steps", "replicas"),
        "cache_embeddings",
    )
)
# What may also differ, because the run's description of its data says whether the clips are the same: where they lie, and
# which files say which of them to leave out or to label otherwise.
_PLACES = frozenset(("data_dir", "probe_csv", "exclude_csv", "relabel_csv"))
# What may grow, because it only says when to stop: what was done would have been done with the larger number too.
GROWING_FIELDS = ("epochs", "early_stopping_patience")
# What decides which clips are packed into records, so that a run on the records need not name it again.
_SELECTION = ("subset", "genres", "keep_known_bad_clips", "probe_csv", "exclude_csv", "relabel_csv")


def require_one_label(settings: Settings, what: str) -> None:
    """Checks that the settings are of one label a clip.

    Args:
        settings: of a run.
        what: needs one label a clip, in words for the message.

    Raises:
        ValueError: clips may have several labels.
    """
    if settings.multi_label:
        raise ValueError(f"expected one label a clip for {what}, received --multi_label; leave it out")


def fields(*groups: str) -> list[str]:
    """Returns the names of the settings of these groups ("data", "features", "training")."""
    return [field.name for field in dataclasses.fields(Settings) if field.metadata["group"] in groups]


def settings_from_json(text: str, path: Path) -> Settings:
    """Reads the contents of a settings.json. A setting that an older version did not have takes its default.

    Args:
        text: the contents.
        path: of the file, for messages.

    Raises:
        ValueError: it is damaged, holds a setting that this version does not have, or a value outside of its range.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected settings as JSON in {path}, but it cannot be read: {error}") from error
    fields_by_name = {field.name: field for field in dataclasses.fields(Settings)}
    unknown = sorted(set(values) - set(fields_by_name)) if isinstance(values, dict) else ["(not an object)"]
    if unknown:
        raise ValueError(f"expected the settings of this version in {path}; these are unknown: {', '.join(unknown)}")
    if isinstance(values.get("genres"), list):
        values["genres"] = tuple(values["genres"])
    for name, value in values.items():
        if expected := unmet(fields_by_name[name], value):
            raise ValueError(f"expected {name} {expected} in {path}, found {value!r}; mend it, or begin another run")
    return Settings(**values)


def differences(old: Settings, new: Settings) -> list[str]:
    """Returns one line for each setting that differs and changes results.

    A run may be continued where its files have been moved, on records of them, and the other way round: `data_identity`
    says whether the clips are the same. It may be given more epochs, or more patience; how few epochs it may be given
    depends on how many it has had, which `Run` knows.

    Args:
        old: the settings that a run was made with.
        new: the settings that it is to be continued with.
    """
    one_is_packed = SOURCES[old.dataset].is_packed or SOURCES[new.dataset].is_packed
    free = FREE_FIELDS | _PLACES | {"epochs"} | ({"dataset", *_SELECTION} if one_is_packed else set())
    return [
        f"{field.name}: {getattr(old, field.name)!r} there, {getattr(new, field.name)!r} now"
        for field in dataclasses.fields(Settings)
        if field.name not in free and not _alike(field, getattr(old, field.name), getattr(new, field.name))
    ]


def _alike(field: dataclasses.Field, old: Any, new: Any) -> bool:
    """Whether a run that was begun with one value may go on with the other."""
    if field.name in GROWING_FIELDS:
        return new >= old
    if field.metadata["is_path"] and old and new:  # however it is written
        return os.path.realpath(old) == os.path.realpath(new)
    return old == new
