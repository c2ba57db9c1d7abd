"""A clip of a report as its card shows it: what was predicted, where to listen, and what the network saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from experiments.figures import drawing
from experiments.prediction.plots import OTHERS_COLOUR, Timeline, shown_classes, timeline
from experiments.reporting.badges import Badge
from experiments.reporting.plots import log_mel_uri, timeline_polygons
from experiments.reporting.shown_clips import MultiLabelClip, ReportClip

MOST_STEPS = 500  # of a timeline: more cannot be told apart on a page
_MORE_BARS = 20  # beside those of the classes that the pictures tell apart
_MOST_ERRORS = 6  # that a card names


@dataclasses.dataclass(frozen=True)
class Bar:
    """The probability of a class.

    Attributes:
        label: of the class.
        probability: of the clip.
        colour: as in the timeline.
        is_true: whether the clip has this label.
        threshold: from which probability on a clip is given it; None where clips have one label.
    """

    label: str
    probability: float
    colour: str
    is_true: bool
    threshold: float | None


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What the network saw of a clip, and said of it over time.

    Attributes:
        log_mel: the image, as an address.
        height: of the image in pixels: its mel bands.
        timeline: probabilities over time.
        polygons: the timeline's bands, each a colour and its points.
        duration: of the clip in seconds.
        marks: places that are named below the picture, in seconds.
        begin: of the window in which the model was most confident, in seconds.
        end: of that window.
        probability: of the predicted class in that window.
    """

    log_mel: str
    height: int
    timeline: Timeline
    polygons: list[tuple[str, str]]
    duration: float
    marks: list[float]
    begin: float
    end: float
    probability: float


@dataclasses.dataclass(frozen=True)
class ClipCard:
    """One clip of a page.

    Attributes:
        clip: what is shown.
        name: its title, or its file's name where there is none.
        url: of its audio, relative to the page or embedded.
        bars: the classes that its pictures tell apart, most probable first.
        more_bars: the next classes, 20 at most, and as many of those that the clip has.
        more: how many classes are left out.
        pictures: None if it cannot be decoded, or they cannot be drawn.
        groups: the groups of clips, chosen by a button of the page, that this one is in, and its rank in each.
        errors: of a clip with several labels, what is wrong with each, the worst first; a few at most.
        badges: what an audit found of it.
    """

    clip: ReportClip | MultiLabelClip
    name: str
    url: str
    bars: list[Bar]
    more_bars: list[Bar]
    more: int
    pictures: Pictures | None
    groups: dict[str, float]
    errors: list[str]
    badges: tuple[Badge, ...] = ()


def clip_card(
    clip: ReportClip | MultiLabelClip,
    labels: Sequence[str],
    crop_seconds: float,
    url: str,
    thresholds: np.ndarray | None = None,
    groups: Collection[str] | None = None,
) -> ClipCard:
    """Gathers what a clip's card shows.

    Args:
        clip: of the report.
        labels: names of the classes.
        crop_seconds: length of a window; 0 is the whole clip.
        url: of its audio, relative to the page or embedded; "" if it cannot be decoded.
        thresholds: of clips with several labels, from which probability on they are given each [classes].
        groups: those that the page has buttons for; None: all.
    """
    shown = shown_classes(clip.windows.mean(axis=0) if len(clip.windows) else clip.probabilities)
    ranked = np.argsort(-clip.probabilities, kind="stable").tolist()
    first = ranked[: len(shown) + _MORE_BARS]
    own = [i for i in ranked[len(first) :] if i in clip.has]
    bars = [
        Bar(
            labels[i],
            float(clip.probabilities[i]),
            shown.get(i, OTHERS_COLOUR),
            i in clip.has,
            None if thresholds is None else float(thresholds[i]),
        )
        for i in (*first, *own[:_MORE_BARS])
    ]
    pictures = None
    if not clip.problem:
        with drawing(f"the picture of {clip.path}"):
            pictures = _pictures(clip, labels, crop_seconds, stacked=thresholds is None)
    return ClipCard(
        clip=clip,
        name=clip.title or Path(clip.path).name,
        url=url,
        bars=bars[: len(shown)],
        more_bars=bars[len(shown) :],
        more=len(labels) - len(bars),
        pictures=pictures,
        groups={name: rank for name, rank in clip.groups.items() if groups is None or name in groups},
        errors=_errors(clip, labels, thresholds) if isinstance(clip, MultiLabelClip) and thresholds is not None else [],
    )


def _errors(clip: MultiLabelClip, labels: Sequence[str], thresholds: np.ndarray) -> list[str]:
    lines = [
        f"{labels[i]} {'missed' if i in clip.has else 'wrongly given'}: {100 * clip.probabilities[i]:.1f} % (threshold "
        f"{100 * thresholds[i]:.1f} %)"
        for i in clip.errors[:_MOST_ERRORS]
    ]
    more = len(clip.errors) - len(lines)
    return [*lines, f"and {more} other labels"] if more else lines


def _pictures(clip: ReportClip | MultiLabelClip, labels: Sequence[str], crop_seconds: float, stacked: bool) -> Pictures:
    begin, duration = float(clip.edges[clip.most_confident]), float(clip.edges[-1])
    over_time = timeline(*thinned(clip.edges, clip.windows), labels, stacked)
    return Pictures(
        log_mel=log_mel_uri(clip.images, clip.edges, crop_seconds),
        height=clip.images.shape[2],
        timeline=over_time,
        polygons=timeline_polygons(over_time),
        duration=duration,
        marks=np.linspace(0, duration, 4).tolist(),
        begin=begin,
        end=min(begin + crop_seconds, duration) if crop_seconds else duration,
        probability=float(clip.windows[clip.most_confident, clip.focus]),
    )


def thinned(edges: np.ndarray, windows: np.ndarray, most: int = MOST_STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Averages neighbouring windows of a long clip, so that its timeline has a bounded number of steps.

    Args:
        edges: where the windows begin, and the clip's end, in seconds [windows + 1].
        windows: probabilities of each window [windows, classes].
        most: steps.

    Returns:
        Edges and probabilities of at most so many steps.
    """
    group = -(-len(windows) // most)
    starts = np.arange(0, len(windows), group)
    sums = np.add.reduceat(windows, starts, axis=0)
    return np.append(edges[starts], edges[-1]), sums / np.diff(np.append(starts, len(windows)))[:, np.newaxis]
