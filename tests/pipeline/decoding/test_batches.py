"""Batches that are decoded one after the other, each by several threads: those of one call a batch, bit for bit."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset import train_dataset
from pipeline.decoding.registry import DECODERS
from pipeline.failures import FailureLedger


@pytest.mark.parametrize("decoder", [name for name, entry in DECODERS.items() if not entry.is_graph_native])
@pytest.mark.parametrize("crop_seconds", [0.5, 0.0])
@pytest.mark.parametrize("threads", [1, 3, 7])
def test_parts_of_a_batch_are_the_batch(
    clips: list[Path], tmp_path: Path, decoder: str, crop_seconds: float, threads: int
):
    (tmp_path / "broken.mp3").write_bytes(b"no music" * 1000)
    paths = [str(path) for path in [*clips[:4], tmp_path / "broken.mp3", *clips[4:8]]]

    def one_pass(**options: object) -> tuple[list[np.ndarray], dict]:
        ledger = FailureLedger(len(paths), 1.0)
        dataset = train_dataset(
            paths,
            list(range(len(paths))),
            ledger,
            sample_rate_hz=8000,
            crop_seconds=crop_seconds,
            crops_per_clip=2,
            batch_size=5,
            epoch=3,
            decoder=decoder,
            decode_workers=threads,
            **options,
        )
        return [part.numpy() for batch in dataset for part in batch], ledger.failures

    own, own_failures = one_pass()
    parts, failures = one_pass(delivery=lambda numbered, decode_step: numbered.map(lambda step, *batch: batch))
    assert failures == own_failures and failures[paths[4]].occurrences == 2
    for part, expected in zip(parts, own, strict=True):
        np.testing.assert_array_equal(part, expected)
