"""A folder of audio as datasets for Keras: `keras.utils.audio_dataset_from_directory` for music of any format and length.

Keras's function reads whole WAV files. This one also reads MP3, FLAC, Ogg and whatever else libsndfile reads, and streams crops.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.clip_lists import ClipList
from pipeline.dataset import default_workers, eval_dataset, make_decoding
from pipeline.decoding import read_info
from pipeline.decoding.decoder import DecodeError
from pipeline.decoding.registry import DEFAULT_DECODER
from pipeline.directory_arguments import check_arguments, check_division, check_lengths
from pipeline.directory_files import choose_validation, list_files, shuffled
from pipeline.failures import FailureLedger
from pipeline.ledgered import LedgeredDataset
from pipeline.order import Order
from pipeline.passes import all_passes
from pipeline.storage.audio_files import find_audio, join_root
from pipeline.storage.left_out import describe_left_out


class DirectoryDataset(LedgeredDataset):
    """A dataset of a folder's audio.

    Attributes:
        ledger: of the files that could not be decoded.
        class_names: names of the classes in the order of their indices; None without labels.
        file_paths: of the clips; with `shuffle=False` in the order of the batches.
    """

    class_names: list[str] | None
    file_paths: list[str]


def audio_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
    *,
    crop_seconds: float | None = None,
    crops_per_clip: int = 1,
    group_by: str | None = None,
    keep_channel_axis: bool = False,
    max_failure_rate: float = 0.01,
    ledger: FailureLedger | None = None,
    first_epoch: int = 0,
    shuffle_clips: int = 0,
    decoder: str = DEFAULT_DECODER,
    decode_workers: int | None = None,
) -> Any:
    """Makes datasets of the audio files below a folder, as `keras.utils.audio_dataset_from_directory` does of WAV files.

    The arguments up to `verbose` mean what they mean there. Files, their order, labels and the division by `validation_split`
    are Keras's own for a folder of WAV files. What differs:

    - Waveforms are mono [batch, samples], at one rate; `keep_channel_axis` gives Keras's [batch, samples, 1].
    - With `crop_seconds`, training reads a random crop of each clip, another one in each epoch; validation, or a dataset with
      `shuffle=False`, reads each clip once, as the windows that cover it.
    - Shuffling is over all clips, in another order in each epoch, the same for the same seed.
    - Hidden files and folders are left out, a file with two names counts once, and a file that cannot be decoded is skipped,
      and named in the attribute `ledger`.

    Args:
        directory: the folder. With `labels="inferred"` each folder in it is a class.
        labels: "inferred", a class index for each file in alphabetical order, or None.
        label_mode: "int" (int32 [batch]), "categorical" (float32 [batch, classes]), "binary" (float32 [batch, 1]) or None.
        class_names: names of the folders in the order of their class indices; default: alphabetical.
        batch_size: clips a batch; None gives them one by one.
        sampling_rate: of the waveforms in Hz; None: that of the files, which must all have the same.
        output_sequence_length: length of the waveforms in samples, cut off or padded at the end; None: as long as the
            longest clip of the batch.
        ragged: not supported: pass `output_sequence_length` or `crop_seconds`.
        shuffle: whether to shuffle.
        seed: of order, crops and division; None draws one.
        validation_split: share of the files for validation.
        subset: "training", "validation", or "both" for a pair of datasets; only with `validation_split`.
        follow_links: whether links to folders are followed; those of classes and those to files always are.
        verbose: whether to print how many files were found, and what was left out.
        crop_seconds: length of the crops; not together with `output_sequence_length`.
        crops_per_clip: how often each clip occurs in a pass of training; more than once only with `crop_seconds`.
        group_by: "artist" or "album": those of `metadata.csv` in the folder (columns path, artist, album) stay on one side of
            the division, of which each class has about its share.
        keep_channel_axis: whether waveforms have a last axis of one channel.
        max_failure_rate: share of the files that may fail to decode.
        ledger: records the files that cannot be decoded, for both datasets, with its own `max_failure_rate`; None makes one for
            each.
        first_epoch: as for `train_dataset`.
        shuffle_clips: as for `train_dataset`.
        decoder: as for `train_dataset`.
        decode_workers: as for `train_dataset`.

    Returns:
        A `DirectoryDataset` of (waveform, label), or of waveforms without labels; for `subset="both"` two of them.

    Raises:
        ValueError: an argument does not fit, or there is no audio.

    Example:
        >>> training, validation = audio_dataset_from_directory(
        ...     folders_dir, sampling_rate=22050, crop_seconds=2.0, batch_size=4, seed=1, validation_split=0.34, subset="both"
        ... )
        Found 6 files belonging to 2 classes.
        Using 4 files for training.
        Using 2 files for validation.
        >>> training.class_names
        ['Jazz', 'Rock']
        >>> [waveform.shape.as_list() for waveform, label in training]
        [[4, 44100]]
    """
    check_arguments(labels, label_mode, class_names, ragged)
    check_lengths(batch_size, sampling_rate, output_sequence_length, crop_seconds, crops_per_clip, first_epoch)
    check_division(validation_split, subset, shuffle, seed, group_by)
    if labels is None or label_mode is None:
        labels = label_mode = None
    directory = os.fspath(directory)
    if not Path(directory).is_dir():
        raise ValueError(f"expected a folder of audio as directory, found none at {directory}; check the path")
    # As Keras does: where folders are classes, links in the place of such folders are followed in any case.
    found = find_audio(directory, None if follow_links else int(labels == "inferred"))
    files, indices, class_names = list_files(directory, found, labels, class_names)
    if label_mode == "binary" and len(class_names or ()) != 2:
        raise ValueError(f"expected two classes for label_mode='binary', found {len(class_names or ())}: {class_names}")
    if label_mode == "categorical" and not 0 <= indices.min() <= indices.max() < len(class_names or ()):
        raise ValueError(
            f"expected labels from 0 to {len(class_names or ()) - 1} for {len(class_names or ())} classes with "
            f"label_mode='categorical', received {indices.min()} to {indices.max()}"
        )
    seed = int(np.random.randint(1_000_000)) if seed is None else seed
    if shuffle:
        files, indices = shuffled(files, seed), shuffled(indices, seed)
    if verbose:
        classes = f" belonging to {len(class_names)} classes" if class_names is not None else ""
        print(f"Found {len(files)} files{classes}.")
        if any(item.may_be_music for item in found.left_out):
            print(f"L{describe_left_out(found.left_out)[1:]}.")
    is_validation = np.zeros(len(files), bool)
    notes: list[str] = []
    if validation_split:
        is_validation, notes = choose_validation(directory, files, indices, validation_split, group_by, seed)
    for note in notes if verbose else ():
        print(f"Note: {note}.")
    paths = np.array([join_root(directory, file) for file in files], object)
    rate_hz = sampling_rate or _find_rate(paths.tolist())

    def make(chosen: np.ndarray, is_training: bool) -> DirectoryDataset:
        columns = () if label_mode is None else (_targets(indices[chosen], label_mode, len(class_names or ())),)
        own_paths = paths[chosen].tolist()
        own_ledger = FailureLedger(len(own_paths), max_failure_rate) if ledger is None else ledger
        clips = ClipList(own_paths, columns, own_ledger)
        seconds = output_sequence_length / rate_hz if output_sequence_length else crop_seconds or 0
        if crop_seconds and not is_training:
            batches = _windows(clips, rate_hz, crop_seconds, batch_size or 1, decoder, decode_workers)
        else:
            order = Order(
                len(own_paths),
                crops_per_clip,
                seed,
                first_epoch,
                shuffle_clips,
                is_shuffled=shuffle and is_training,
                from_beginning=not crop_seconds,
            )
            decoding = make_decoding(rate_hz, seconds, batch_size or 1, decoder, decode_workers)
            batches = all_passes(clips, order, decoding, (0, 1), keep_empty=False)
        return _finish(batches, batch_size, keep_channel_axis, not columns, class_names, own_paths)

    if not validation_split:
        return make(~is_validation, is_training=shuffle)
    sizes = {"training": int((~is_validation).sum()), "validation": int(is_validation.sum())}
    wanted = ["training", "validation"] if subset == "both" else [str(subset)]
    for name in wanted if verbose else ():
        print(f"Using {sizes[name]} files for {name}.")
    if empty := [name for name in wanted if not sizes[name]]:
        raise ValueError(
            f"expected files for {empty[0]} in {directory}, found none of {len(files)} with validation_split="
            f"{validation_split:g}; choose another share"
        )
    datasets = {
        "training": lambda: make(~is_validation, is_training=True),
        "validation": lambda: make(is_validation, is_training=False),
    }
    made = tuple(datasets[name]() for name in wanted)
    return made if subset == "both" else made[0]


def _find_rate(paths: Sequence[str]) -> int:
    """Returns the one sample rate of all files that can be opened."""

    def read_rate(path: str) -> int | None:
        try:
            return read_info(path).sample_rate_hz
        except DecodeError:
            return None  # decoding it will record the reason

    with ThreadPoolExecutor(default_workers()) as pool:
        rates = Counter(rate for rate in pool.map(read_rate, paths) if rate)
    if not rates:
        raise ValueError(f"expected files that can be decoded, found none of {len(paths)}; see probe_audio")
    if len(rates) > 1:
        ranked = sorted(rates.items(), key=lambda pair: (-pair[1], pair[0]))
        found = ", ".join(f"{rate} Hz ({count} files)" for rate, count in ranked[:5])
        raise ValueError(f"expected files of one sample rate, found {found}; give the sampling_rate to convert them to")
    return next(iter(rates))


def _targets(indices: np.ndarray, label_mode: str, classes: int) -> np.ndarray:
    if label_mode == "categorical":
        return np.eye(classes, dtype=np.float32)[indices]
    return indices.astype(np.float32)[:, np.newaxis] if label_mode == "binary" else indices


def _windows(
    clips: ClipList, rate_hz: int, crop_seconds: float, batch_size: int, decoder: str, decode_workers: int | None
) -> LedgeredDataset:
    """Makes the windows of every clip in order, with the clips' own columns."""
    rows = np.arange(len(clips.paths), dtype=np.int32)
    windows = eval_dataset(
        clips.paths,
        rows,
        clips.ledger,
        sample_rate_hz=rate_hz,
        crop_seconds=crop_seconds,
        batch_size=batch_size,
        decoder=decoder,
        decode_workers=decode_workers,
    )
    tables = [tf.constant(column) for column in clips.columns]
    with_columns = windows.map(lambda waveform, row: (waveform, *(tf.gather(table, row) for table in tables)))
    return LedgeredDataset(with_columns, clips.paths, clips.ledger)


def _finish(
    batches: LedgeredDataset,
    batch_size: int | None,
    keep_channel_axis: bool,
    is_unlabelled: bool,
    class_names: list[str] | None,
    paths: list[str],
) -> DirectoryDataset:
    """Gives batches the shape that was asked for, and the attributes of Keras's datasets."""
    dataset: tf.data.Dataset = batches
    if keep_channel_axis:
        dataset = dataset.map(lambda waveform, *label: (waveform[..., tf.newaxis], *label))
    if is_unlabelled:
        dataset = dataset.map(lambda waveform: waveform)
    if batch_size is None:  # of one example each
        dataset = dataset.unbatch().apply(tf.data.experimental.assert_cardinality(len(batches)))
    finished = DirectoryDataset(dataset, batches._paths, batches.ledger)
    finished.class_names, finished.file_paths = class_names, paths
    return finished
