"""Labels for audio files by an exported model, as a stream: crops of many files share a batch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.prediction.exported import Classify, ClassifyMp3, ExportedModel
from pipeline import windows
from pipeline.dataset import eval_dataset, iterate
from pipeline.decoding import read_info
from pipeline.decoding.registry import DEFAULT_DECODER
from pipeline.decoding.silence import describe_silence
from pipeline.failures import FailureLedger
from pipeline.storage.audio_files import find_audio, join_root, list_endings
from pipeline.storage.clips import read_clip
from pipeline.storage.left_out import Kind, LeftOut, describe_left_out

_BATCH_WINDOWS = 16
_BATCH_FILES = 8


@dataclasses.dataclass(frozen=True)
class FilePrediction:
    """The prediction of one file.

    Attributes:
        path: as it was given or found.
        windows: probabilities of its crops [windows, classes]; none if there is an error.
        error: why there is no prediction; empty if there is one.
        remark: what to know of a prediction: that the file has no sound, or that a part of it is not used; or empty.
    """

    path: str
    windows: np.ndarray
    error: str = ""
    remark: str = ""

    @property
    def probabilities(self) -> np.ndarray:
        """The mean over the windows [classes], in float64."""
        return self.windows.mean(axis=0, dtype=np.float64)


def expand(arguments: Sequence[str]) -> tuple[list[str], list[LeftOut]]:
    """Expands files and folders to files: folders are searched for audio, files are taken as they are, each once.

    Returns:
        The files, and what the folders hold that is not among them, with reasons.

    Raises:
        ValueError: there is no file; the message says what was found instead.
        OSError: a folder cannot be read.
    """
    paths: dict[str, None] = {}
    left_out: dict[str, LeftOut] = {}
    for argument in arguments:
        if not Path(argument).is_dir():
            paths[argument] = None
            continue
        found = find_audio(argument)
        paths |= dict.fromkeys(join_root(argument, file) for file in found.files)
        left_out |= {item.path: item for item in found.left_out}
    if len(arguments) > 1:  # a folder and a folder or file in it, written otherwise
        by_real_path: dict[str, str] = {}
        for path in paths:
            first = by_real_path.setdefault(os.path.realpath(path), path)
            if first != path:
                left_out[path] = LeftOut(path, f"the same file as {first}", Kind.REPEATED)
        paths = dict.fromkeys(by_real_path.values())
    if not paths:
        counts = f" ({note})" if (note := describe_left_out(left_out.values())) else ""
        raise ValueError(
            f"expected audio files or folders that hold some, found none in {', '.join(arguments) or 'an empty list'}"
            f"{counts}; files read: {list_endings()}"
        )
    return list(paths), [item for path, item in left_out.items() if path not in paths]


def predict_files(
    model: ExportedModel, paths: Sequence[str], decoder: str = DEFAULT_DECODER
) -> Iterator[FilePrediction]:
    """Predicts files in their order; one that cannot be decoded is a prediction with an error."""
    if model.classify is not None:
        yield from _predict_windows(model, model.classify, paths, decoder)
    elif model.classify_mp3 is not None:
        yield from _predict_mp3(model.classify_mp3, paths)


def window_edges(path: str, count: int, crop_seconds: float) -> np.ndarray:
    """Returns where the windows of a file begin, and where the file ends, in seconds [count + 1]."""
    return windows.window_edges(read_info(path).duration_seconds, count, crop_seconds)


def _predict_windows(
    model: ExportedModel, classify: Classify, paths: Sequence[str], decoder: str
) -> Iterator[FilePrediction]:
    ledger = FailureLedger(len(paths), max_failure_rate=1.0)
    dataset = eval_dataset(
        paths,
        ledger,
        sample_rate_hz=model.metadata["sample_rate_hz"],
        crop_seconds=model.metadata["crop_seconds"],
        batch_size=_BATCH_WINDOWS,
        decoder=decoder,
    )
    windows: list[np.ndarray] = []  # of the file that is being collected
    peaks: list[float] = []  # of their waveforms

    def finish(row: int) -> FilePrediction:
        path, probabilities, peak = paths[row], np.array(windows), max(peaks, default=0.0)
        windows.clear()
        peaks.clear()
        if path in failures:
            return FilePrediction(path, probabilities[:0], failures[path].reason)
        remark = describe_silence(peak, read_info(path).duration_seconds) or ledger.remarks.get(path, "")
        return FilePrediction(path, probabilities, remark=remark)

    row = 0
    for waveforms, window_rows in iterate(dataset, ledger):
        failures = ledger.failures
        own_peaks = np.abs(waveforms.numpy()).max(axis=1)
        for window_row, peak, probabilities in zip(
            window_rows.numpy(), own_peaks, classify(waveforms.numpy()), strict=True
        ):
            while row < window_row:
                yield finish(row)
                row += 1
            windows.append(probabilities)
            peaks.append(float(peak))
    failures = ledger.failures
    for last in range(row, len(paths)):
        yield finish(last)


def _predict_mp3(classify: ClassifyMp3, paths: Sequence[str]) -> Iterator[FilePrediction]:
    for begin in range(0, len(paths), _BATCH_FILES):
        batch = paths[begin : begin + _BATCH_FILES]
        contents, unread = [], []
        for path in batch:
            try:
                contents.append(read_clip(path))
                unread.append("")
            except OSError as error:
                contents.append(b"")
                unread.append(f"cannot be read: {error.strerror or error}")
        probabilities, undecoded, remarks = classify(contents)
        for i, path in enumerate(batch):
            reason = unread[i] or undecoded[i]
            yield FilePrediction(path, probabilities[i : i + (not reason)], reason, remarks[i])
