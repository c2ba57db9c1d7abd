"""audioread: the ffmpeg command cannot seek, so that every crop is decoded from the beginning of its clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from experiments.benchmark.rivals.threads import load_in_threads
from experiments.benchmark.workload import Workload


def decode_crops(work: Workload) -> Iterator[int]:
    """Decodes a crop of each of 16 files in as many threads as cores; yields 1 for each."""
    import audioread

    def load(path: str, offset: float) -> object:
        with audioread.audio_open(path) as sound:
            wanted = int((offset + work.crop_seconds) * sound.samplerate) * sound.channels * 2  # bytes of int16
            blocks, size = [], 0
            for block in sound:
                blocks.append(block)
                size += len(block)
                if size >= wanted:
                    break
        return b"".join(blocks)

    yield from load_in_threads(load, dataclasses.replace(work, paths=work.paths[:16]))


def missing_command() -> str:
    """What audioread, which must be installed, lacks to decode MP3s: the ffmpeg command, or nothing."""
    from audioread import ffdec

    return "" if ffdec.available() else "the ffmpeg command"
