"""A run's directory: the only reader and writer of its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.runs.failures import describe_failures, read_failures, restore_failures, write_failures
from experiments.runs.identity import data_identity, same_data
from experiments.runs.left_out import describe_left_out, read_left_out, write_left_out
from experiments.settings import GROWING_FIELDS, Settings, differences, settings_from_json
from pipeline.catalogs.catalog import Catalog
from pipeline.failures import FailureLedger
from pipeline.storage.atomic import atomic_write, is_partial, remove_partial, write_text
from pipeline.storage.folder_lock import locked_folder

if TYPE_CHECKING:
    import keras

_HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")
_FINISH = "let the training finish, by the same command"


class Run:
    """The files of a run, by name. Every property reads its file when it is asked for, and nothing before.

    A directory that an evaluation of another data set writes has some of the files: predictions.csv, metrics.json and
    failures.csv.

    Args:
        directory: of the run; it need not exist yet.

    Attributes:
        directory: as a path.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def path(self, name: str) -> Path:
        """Returns the path of one of the run's files."""
        return self.directory / name

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, which `training.checkpoint` writes and reads."""
        return self.path("checkpoints")

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's logs."""
        return self.path("tensorboard")

    @property
    def is_finished(self) -> bool:
        """Whether the run has been trained and evaluated to its end."""
        return self.path("metrics.json").is_file()

    def is_finished_with(self, settings: Settings) -> bool:
        """Returns whether the run is finished, and these settings do not ask for more or fewer epochs of it."""
        return self.is_finished and not self._asks_for_others(settings)

    @property
    def epochs_done(self) -> int:
        """How many epochs the run has had, by the names of its checkpoints."""
        names = (re.match(r"epoch-(\d+)", path.name) for path in self.checkpoints.glob("epoch-*.npz"))
        return max((int(name[1]) for name in names if name), default=0)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory, and keeps other processes from writing it during the block.

        Raises:
            ValueError: another process writes it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        remedy = "let it end, stop it, or choose another --output_dir"
        with locked_folder(self.directory, "training or evaluation", remedy):
            yield

    def check(self, settings: Settings, catalog: Catalog) -> None:
        """Checks that the directory is new, or was made with these settings and data; writes nothing.

        Raises:
            ValueError: it belongs to something else; the message says the differences.
        """
        data = data_identity(catalog)
        if self.path("settings.json").exists():
            changed = differences(self.settings, settings)
            if not changed and self.path("data.json").exists() and not same_data(old := self.data, data):
                changed = [f"clips: {old['clips']} there, {data['clips']} now, or other tracks, labels or splits"]
            if changed:
                raise ValueError(
                    f"expected the settings that {self.directory} was made with, received others:\n  "
                    + "\n  ".join(changed)
                    + "\nUse these settings again to continue the run, or another --output_dir."
                )
            if settings.epochs < self.epochs_done:
                raise ValueError(
                    f"expected --epochs of at least the {self.epochs_done} that {self.directory} has had, received "
                    f"{settings.epochs}; choose as many or more, or another --output_dir"
                )
        elif self.directory.is_dir() and any(not is_partial(path) for path in self.directory.iterdir()):
            raise ValueError(
                f"expected an empty directory or an earlier run at {self.directory}, found other files; choose another "
                "--output_dir"
            )

    def begin(self, settings: Settings, catalog: Catalog) -> None:
        """Creates the directory, or checks that an existing one was made with these settings and data.

        Writes settings.json and data.json, and removes what a killed process has left half written.

        Raises:
            ValueError: the directory belongs to something else; the message says the differences.
            OSError: it cannot be written.
        """
        self.check(settings, catalog)
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.path("settings.json").exists() and self._asks_for_others(settings):
            self.path("metrics.json").unlink(missing_ok=True)  # which would say that the run is finished
        for directory in (self.directory, self.checkpoints):
            remove_partial(directory)
        write_text(self.path("settings.json"), settings.as_json())  # first: it is what shows that this is a run
        self._write_json("data.json", data_identity(catalog))
        self.write_left_out(catalog)

    @property
    def settings(self) -> Settings:
        """The settings of the run.

        Raises:
            ValueError: settings.json is missing, damaged, or of another version.
        """
        path = self.path("settings.json")
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ValueError(f"expected a run directory with {path.name}, found no {path}; train first") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"expected settings as JSON in {path}, but it cannot be read: {error}") from error
        return settings_from_json(text, path)

    @property
    def data(self) -> dict[str, Any]:
        """What the run was trained on, as `data_identity` describes it.

        Raises:
            ValueError: data.json is missing or damaged.
        """
        path = self.path("data.json")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data["labels"], list):
                raise ValueError("labels is not a list")
            return data
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected the run's data description at {path}, but it cannot be read: {error!r}"
            ) from error

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in class order.

        Raises:
            ValueError: data.json is missing or damaged.
        """
        return tuple(self.data["labels"])

    def model(self) -> keras.Model:
        """Loads the best epoch's model.

        Raises:
            ValueError: model.keras is missing, or cannot be read.
        """
        path = self.path("model.keras")
        if not path.is_file():
            raise ValueError(f"expected a trained model at {path}, found none; let the training finish an epoch first")
        from layers import load_model

        try:
            return load_model(path, compile=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"expected a Keras model at {path}, but it cannot be read: {error}") from error

    def write_model(self, model: keras.Model) -> None:
        """Writes model.keras, without the optimizer."""
        with atomic_write(self.path("model.keras")) as temporary:
            model.save(temporary, include_optimizer=False)

    @property
    def history(self) -> pd.DataFrame:
        """The history of the training: a row an epoch, with epoch, loss, accuracy, val_loss, val_accuracy, seconds and others.

        Raises:
            ValueError: history.csv is missing or damaged, or lacks one of these columns.
        """
        path = self.path("history.csv")
        try:
            history = pd.read_csv(path, float_precision="round_trip")
            if not set(_HISTORY_COLUMNS) <= set(history.columns):
                raise ValueError(f"its columns are {', '.join(history.columns)}")
            history[list(_HISTORY_COLUMNS)].astype(float)
            return history
        except (OSError, ValueError) as error:
            raise ValueError(
                f"expected the history of the training in {path}, but it cannot be read: {error}; {_FINISH}"
            ) from error

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes history.csv, of one row an epoch."""
        with atomic_write(self.path("history.csv")) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)

    def predictions(self, needed: Sequence[str] = ()) -> pd.DataFrame:
        """Reads what the model says of the clips.

        Args:
            needed: columns that must be there.

        Returns:
            A row a clip: track_id, path, split, label, predicted, and `probability_<label>` for each class.

        Raises:
            ValueError: predictions.csv is missing or damaged, or lacks a column.
        """
        path = self.path("predictions.csv")
        text = dict.fromkeys(("track_id", "path", "split", "label", "predicted"), str)
        try:
            table = pd.read_csv(
                path,
                dtype=text,
                keep_default_na=False,
                encoding_errors="surrogateescape",  # file names need not be text
                float_precision="round_trip",
            )
            if missing := [name for name in needed if name not in table]:
                raise ValueError(f"no column {', '.join(missing)}")
            return table
        except (OSError, ValueError) as error:
            raise ValueError(
                f"expected the run's predictions in {path}, but they cannot be read: {error}; {_FINISH}"
            ) from error

    def write_predictions(self, table: pd.DataFrame) -> None:
        """Writes predictions.csv, of the columns that `predictions` returns.

        Texts are written as they are in the data: one that begins with = is a formula to a spreadsheet, unless imported as
        text.
        """
        with atomic_write(self.path("predictions.csv")) as temporary:
            table.to_csv(temporary, index=False, float_format="%.9g", errors="surrogateescape")

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores of each split of a finished run, the test split among them.

        Raises:
            ValueError: metrics.json is missing or damaged, or lacks the test split.
        """
        path = self.path("metrics.json")
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            metrics["test"]["clip"]["accuracy"]
            return metrics
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected the test scores of a finished run in {path}, but they cannot be read ({error!r}); {_FINISH}"
            ) from error

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Writes metrics.json, after all other files but pictures: it shows that a run is finished."""
        self._write_json("metrics.json", metrics)

    @property
    def thresholds(self) -> np.ndarray:
        """Of clips that may have several labels: from which probability on a clip has each label [labels].

        Raises:
            ValueError: thresholds.json is missing or damaged, or of other labels than data.json.
        """
        path, labels = self.path("thresholds.json"), self.labels
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return np.array([float(values[label]) for label in labels])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"expected the thresholds of a finished run in {path}, but they cannot be read ({error!r}); {_FINISH}"
            ) from error

    def write_thresholds(self, labels: Sequence[str], thresholds: np.ndarray) -> None:
        """Writes thresholds.json: {label: threshold}."""
        self._write_json("thresholds.json", dict(zip(labels, thresholds.tolist(), strict=True)))

    @property
    def baseline(self) -> dict[str, Any] | None:
        """What a run of a baseline has instead of a history; None: the run is of a network that was trained.

        Raises:
            ValueError: baseline.json is damaged.
        """
        path = self.path("baseline.json")
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"expected a baseline in {path}, but it cannot be read: {error}; {_FINISH}") from error

    def write_baseline(self, description: dict[str, Any]) -> None:
        """Writes baseline.json: hyperparameters, temperature, parameters, training_seconds, latency_ms."""
        self._write_json("baseline.json", description)

    @property
    def failures(self) -> list[dict[str, str]]:
        """The files that could not be decoded, each by the columns of failures.csv; none if there is no such file."""
        return read_failures(self.path("failures.csv"))

    def write_failures(self, ledger: FailureLedger, catalog: Catalog) -> None:
        """Writes failures.csv."""
        write_failures(self.path("failures.csv"), ledger, catalog)

    def restore_failures(self, ledger: FailureLedger, paths: Iterable[str]) -> None:
        """Records the failures of these files that an earlier part of the run has written, unless they are repaired."""
        restore_failures(self.path("failures.csv"), ledger, paths)

    def describe_failures(self, ledger: FailureLedger, catalog: Catalog) -> str:
        """Returns one line that counts the undecodable files by label and names failures.csv."""
        return describe_failures(self.path("failures.csv"), ledger, catalog)

    @property
    def left_out(self) -> list[dict[str, str]]:
        """The files that the data set does not use, each by the columns of left_out.csv; none if there is no such file."""
        return read_left_out(self.path("left_out.csv"))

    def write_left_out(self, catalog: Catalog) -> None:
        """Writes left_out.csv."""
        write_left_out(self.path("left_out.csv"), catalog.left_out)

    def describe_left_out(self, catalog: Catalog) -> str:
        """Returns the end of a line that counts what the data set does not use and names left_out.csv; "" for nothing."""
        return describe_left_out(self.path("left_out.csv"), catalog.left_out)

    def _asks_for_others(self, settings: Settings) -> bool:
        """Whether settings ask for another number of epochs than the run was last asked for."""
        own = self.settings
        return any(getattr(own, name) != getattr(settings, name) for name in GROWING_FIELDS)

    def _write_json(self, name: str, contents: dict[str, Any]) -> None:
        write_text(self.path(name), json.dumps(contents, indent=2) + "\n")
