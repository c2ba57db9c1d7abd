"""From paths to waveforms: catalogs, decoding and streaming datasets.

What a user of the library calls can be imported from here. A module is loaded when one of its names is first asked for:
TensorFlow takes seconds.

Example:
    >>> import pipeline
    >>> ledger = pipeline.FailureLedger(len(paths), max_failure_rate=0.1)  # of three MP3s
    >>> dataset = pipeline.train_dataset(paths, [0, 1, 0], ledger, crops_per_clip=4, batch_size=12)
    >>> next(iter(dataset))[0].shape  # waveforms of 5 s at 22,050 Hz
    TensorShape([12, 110250])
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "DecodeError": "pipeline.decoding",
    "FailureLedger": "pipeline.failures",
    "decode_crop": "pipeline.decoding",
    "eval_dataset": "pipeline.dataset",
    "load_csv": "pipeline.catalogs.table",
    "load_fma": "pipeline.catalogs.fma",
    "load_folders": "pipeline.catalogs.folders",
    "load_records": "pipeline.catalogs.records",
    "read_info": "pipeline.decoding",
    "train_dataset": "pipeline.dataset",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
