"""From paths to waveforms: catalogs, decoding and streaming datasets.

What a user of the library calls can be imported from here. A module is loaded when one of its names is first asked for:
TensorFlow takes seconds.

`load_fma`, `load_folders`, `load_csv` and `load_records` return a catalog; `catalog["training"]` are the clips of a split.
`train_dataset` and `eval_dataset` make of them datasets for `model.fit` or a loop of one's own, and
`audio_dataset_from_directory` does so of a folder, as Keras's function of that name.

Example:
    >>> from pipeline import eval_dataset, load_folders, train_dataset
    >>> catalog = load_folders(folders_dir)
    >>> train, validation = train_dataset(catalog["training"], crop_seconds=5), eval_dataset(catalog["validation"])
    >>> next(iter(train))[0].shape[1]  # samples of 5 s at 22,050 Hz
    110250
    >>> train.ledger.failures  # files that could not be decoded so far
    {}
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "DecodeError": "pipeline.decoding",
    "FailureLedger": "pipeline.failures",
    "Mp3Synthesis": "pipeline.decoding.mp3_synthesis",
    "audio_dataset_from_directory": "pipeline.directory",
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
