"""The clips of a report: what a run's predictions say of each, and what the model says of its windows now."""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.decoding.silence import describe_silence


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownClip:
    """What clips with one label and with several have in common. Four fields are empty if `problem` is not.

    Attributes:
        path: of the file, as in the catalog.
        title: "" where unknown.
        artist: "" where unknown.
        probabilities: from predictions.csv [classes].
        problem: why it cannot be decoded any more, or "".
        edges: where the windows begin, and the clip's end, in seconds [windows + 1].
        windows: probabilities of each window [windows, classes].
        images: the log-mel image of each window, 0 its lowest and 255 its highest value, uint8 [windows, columns, mels].
        peak: the largest absolute sample in mono.
    """

    path: str
    title: str
    artist: str
    probabilities: np.ndarray
    problem: str
    edges: np.ndarray
    windows: np.ndarray
    images: np.ndarray
    peak: float

    @property
    def silence(self) -> str:
        """Why the clip has no sound, such as "no sound: silent"; "" if it has some, or cannot be decoded."""
        return "" if self.problem else describe_silence(self.peak, float(self.edges[-1]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportClip(ShownClip):
    """A test clip that has one label.

    Attributes:
        true: its class index.
        predicted: the predicted class index.
    """

    true: int
    predicted: int

    @property
    def misclassified(self) -> bool:
        """Whether the predicted class differs from the true class."""
        return self.true != self.predicted

    @property
    def has(self) -> tuple[int, ...]:
        """The labels that the clip has."""
        return (self.true,)

    @property
    def focus(self) -> int:
        """The label whose surest window is pointed out."""
        return self.predicted

    @property
    def groups(self) -> dict[str, float]:
        """The groups of clips that this one is in, its cell of the confusion matrix; there is no order in a group."""
        return {f"{self.true}-{self.predicted}": 0.0}

    @property
    def most_confident(self) -> int:
        """The window in which the model was most confident of the class that it predicted for the clip."""
        return int(np.argmax(self.windows[:, self.predicted]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabelClip(ShownClip):
    """A test clip that may have several labels.

    Attributes:
        has: class indices of its labels.
        given: class indices of the labels that it is given, whose probability is at least their threshold.
        errors: class indices of the labels that are wrongly given or missed, the worst first.
        severity: of each error, how confident it is: a share of the way from the threshold to 1 or 0.
        focus: the label whose surest window is pointed out: the worst error, or else the most probable label.
    """

    has: tuple[int, ...]
    given: tuple[int, ...]
    errors: tuple[int, ...]
    severity: tuple[float, ...]
    focus: int

    @property
    def misclassified(self) -> bool:
        """Whether any label is wrongly given or missed."""
        return bool(self.errors)

    @property
    def groups(self) -> dict[str, float]:
        """The groups of clips that this one is in, one for each error, with how confident the error is."""
        names = (f"{'missed' if i in self.has else 'given'}-{i}" for i in self.errors)
        return dict(zip(names, self.severity, strict=True))

    @property
    def most_confident(self) -> int:
        """The window in which the model was most confident of `focus`."""
        return int(np.argmax(self.windows[:, self.focus]))
