"""A run's directory: its settings, its data's identity, and what a finished run has written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.settings import Settings, differences, read_settings
from pipeline.catalogs.catalog import SPLITS, Catalog
from pipeline.storage.atomic import is_partial, remove_partial, write_text

SETTINGS_FILE, DATA_FILE, MODEL_FILE = "settings.json", "data.json", "model.keras"
CHECKPOINTS = "checkpoints"


def open_run(run_dir: Path, settings: Settings, catalog: Catalog) -> None:
    """Creates a run directory, or checks that an existing one was made with the same settings and data.

    Raises:
        ValueError: the directory belongs to something else; the message says the differences.
        OSError: it cannot be written.
    """
    check_run(run_dir, settings, catalog)
    run_dir.mkdir(parents=True, exist_ok=True)
    for directory in (run_dir, run_dir / CHECKPOINTS):
        remove_partial(directory)
    write_text(run_dir / SETTINGS_FILE, settings.as_json())  # first: it is what shows that this is a run
    write_text(run_dir / DATA_FILE, json.dumps(data_identity(catalog), indent=2) + "\n")


def check_run(run_dir: Path, settings: Settings, catalog: Catalog) -> None:
    """Checks that a run directory is new, or was made with these settings and data; writes nothing.

    Raises:
        ValueError: it belongs to something else; the message says the differences.
    """
    data = data_identity(catalog)
    if (run_dir / SETTINGS_FILE).exists():
        changed = differences(read_settings(run_dir / SETTINGS_FILE), settings)
        if not changed and (run_dir / DATA_FILE).exists() and (old := read_data(run_dir)) != data:
            changed = [f"clips: {old['clips']} there, {data['clips']} now, or other tracks, labels or splits"]
        if changed:
            raise ValueError(
                f"expected the settings that {run_dir} was made with, received others:\n  "
                + "\n  ".join(changed)
                + "\nUse these settings again to continue the run, or another --output_dir."
            )
    elif run_dir.is_dir() and any(not is_partial(path) for path in run_dir.iterdir()):
        raise ValueError(
            f"expected an empty directory or an earlier run at {run_dir}, found other files; choose another --output_dir"
        )


def read_data(run_dir: Path) -> dict:
    """Reads a run's data.json: labels in class order, clips a split, and a digest of tracks, labels and splits."""
    path = run_dir / DATA_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data["labels"], list):
            raise ValueError("labels is not a list")
        return data
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected the run's data description at {path}, but it cannot be read: {error!r}") from error


def read_metrics(run_dir: Path) -> dict[str, Any]:
    """Reads a finished run's metrics.json: the scores of each split.

    Raises:
        ValueError: it is missing or damaged, or lacks the test split.
    """
    path = run_dir / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics["test"]["clip"]["accuracy"]
        return metrics
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected the test scores of a finished run in {path}, but they cannot be read "
            f"({error!r}); let the training finish, by the same command"
        ) from error


def read_predictions(run_dir: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Reads a finished run's predictions.csv: track_id, path, split, label, predicted, and probability_<label> columns.

    Args:
        run_dir: of the run.
        needed: columns that must be there.

    Raises:
        ValueError: it is missing or damaged, or lacks a column.
    """
    path = run_dir / "predictions.csv"
    text = dict.fromkeys(("track_id", "path", "split", "label", "predicted"), str)
    try:
        # File names need not be text.
        table = pd.read_csv(path, dtype=text, keep_default_na=False, encoding_errors="surrogateescape")
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"no column {', '.join(missing)}")
        return table
    except (OSError, ValueError) as error:
        raise ValueError(
            f"expected the run's predictions in {path}, but they cannot be read: {error}; "
            "let the training finish, by the same command"
        ) from error


def data_identity(catalog: Catalog) -> dict:
    """What data.json holds: labels, clips a split, and a digest of tracks, labels and splits."""
    digest = hashlib.sha256()
    for row in catalog.tracks[["track_id", "label", "split"]].itertuples(index=False):
        digest.update(repr(tuple(row)).encode())
    counts = catalog.tracks["split"].value_counts()
    return {
        "labels": list(catalog.labels),
        "clips": {split: int(counts.get(split, 0)) for split in SPLITS},
        "sha256": digest.hexdigest(),
    }
