"""A split's clips one at a time, for features that are pooled over a clip."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator

import numpy as np
import pandas as pd

from experiments.console import progress
from experiments.settings import Settings
from pipeline.dataset import eval_dataset, iterate
from pipeline.failures import FailureLedger


def stream_clips(
    tracks: pd.DataFrame, settings: Settings, ledger: FailureLedger, crop_seconds: float, description: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes clips in order, as the crops that evaluation would see.

    Args:
        tracks: catalog rows.
        settings: sample rate, batch size, decoder and workers.
        ledger: where undecodable files are recorded; their clips are left out, whole.
        crop_seconds: length of a crop; 0 gives each whole clip as one crop.
        description: of the progress bar.

    Yields:
        A clip's place in `tracks`, and its crops float32 [crops, samples].

    Raises:
        FailureBudgetError: too many files failed.
    """
    paths = tracks["path"].tolist()
    dataset = eval_dataset(
        paths,
        ledger,
        sample_rate_hz=settings.sample_rate_hz,
        crop_seconds=crop_seconds,
        batch_size=settings.batch_size,
        decoder=settings.decoder,
        decode_workers=settings.decode_workers or None,
    )
    crops = (
        (int(place), crop)
        for waveform, places in iterate(dataset, ledger)
        for place, crop in zip(places.numpy(), waveform.numpy(), strict=True)
    )
    with progress(None, len(paths), description, leave=False, unit="clip") as bar:
        for place, group in itertools.groupby(crops, key=operator.itemgetter(0)):
            waveforms = np.stack([crop for _, crop in group])
            bar.update(place + 1 - bar.n)
            # A clip ends here only when the next one's first crop is there: all failures of its own are recorded.
            if paths[place] not in ledger.failures:
                yield place, waveforms
