"""The rows of the benchmark by name: the limit of the machine, ours, and what users would pick instead.

To add a rival, write its pass in a file of `experiments.benchmark.rivals` and list it in `ROWS`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator

from experiments.benchmark.limit import limit_processes, limit_threads
from experiments.benchmark.ours import decode_batches, decode_lines, why_no_lines
from experiments.benchmark.rivals import (
    audioread_from_start,
    ffmpeg_pyav,
    librosa_offset,
    study,
    tfio_tutorial,
    torch_dataloader,
    torchcodec_range,
)
from experiments.benchmark.workload import Workload


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Attributes:
        start: begins a pass; each item is the number of clips that came with it.
        package: what must be installed for it, if anything.
        ratio: of a rival: the name in benchmark.json of our rate divided by its rate.
        has_workers: whether other processes do its work.
        whole_clips: whether it decodes whole clips rather than crops.
        also_missing: says what it lacks beside the package, once that is installed; "" if nothing.
        unfit: says why it cannot decode these crops; "" if it can.
    """

    start: Callable[[Workload], Iterator[int]]
    package: str = ""
    ratio: str = ""
    has_workers: bool = False
    whole_clips: bool = False
    also_missing: Callable[[], str] = lambda: ""
    unfit: Callable[[Workload], str] = lambda work: ""

    @property
    def is_rival(self) -> bool:
        """Whether it is another's way."""
        return bool(self.ratio)

    @property
    def missing(self) -> str:
        """What must be installed before it can be measured; empty if nothing."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return self.package
        return self.also_missing()


ROWS = {
    "limit_threads": Row(limit_threads),
    "limit_processes": Row(limit_processes, has_workers=True),
    "ours_native": Row(lambda work: decode_batches(work, "auto", work.rounds, work.crop_seconds)),
    "ours_native_whole": Row(lambda work: decode_batches(work, "auto", 1, 0.0), whole_clips=True),
    "ours_native_lines": Row(decode_lines, unfit=why_no_lines),
    "ours_soundfile": Row(lambda work: decode_batches(work, "soundfile", work.rounds, work.crop_seconds)),
    "ours_tfio": Row(lambda work: decode_batches(work, "tfio", 1, work.crop_seconds), "tensorflow_io"),
    "ours_soundfile_whole": Row(lambda work: decode_batches(work, "soundfile", 1, 0.0), whole_clips=True),
    "ours_tfio_whole": Row(lambda work: decode_batches(_few(work), "tfio", 1, 0.0), "tensorflow_io", whole_clips=True),
    "torch_dataloader": Row(torch_dataloader.decode_crops, "torch", "to_torch_dataloader", has_workers=True),
    "librosa_offset": Row(librosa_offset.decode_crops, "librosa", "to_librosa_offset"),
    "torchcodec_range": Row(torchcodec_range.decode_crops, "torchcodec", "to_torchcodec"),
    "ffmpeg_pyav": Row(ffmpeg_pyav.decode_crops, "av", "to_ffmpeg_pyav"),
    "audioread_from_start": Row(
        audioread_from_start.decode_crops,
        "audioread",
        "to_audioread",
        has_workers=True,
        also_missing=audioread_from_start.missing_command,
    ),
    "study_librosa": Row(study.convert_clips, "librosa", "to_study", whole_clips=True),
    "tfio_tutorial": Row(tfio_tutorial.decode_crops, "tensorflow_io", "to_tfio_tutorial"),
}


def _few(work: Workload) -> Workload:
    """Four batches, for a slow row."""
    return dataclasses.replace(work, paths=work.paths[: 4 * work.batch_size])
