"""A clip of a report as its card shows it: what was predicted, where to listen, and what the network saw."""

from __future__ import annotations

import dataclasses
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

import numpy as np

from experiments.prediction.plots import OTHERS_COLOUR, Timeline, shown_classes, timeline
from experiments.reporting.data import ReportClip
from experiments.reporting.plots import data_uri, log_mel_uri, timeline_polygons
from pipeline.storage.clips import read_clip


@dataclasses.dataclass(frozen=True)
class Bar:
    """The probability of a class.

    Attributes:
        label: of the class.
        probability: of the clip.
        colour: as in the timeline.
        is_true: whether the clip has this label.
    """

    label: str
    probability: float
    colour: str
    is_true: bool


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
        more_bars: the other classes.
        pictures: None if it cannot be decoded.
    """

    clip: ReportClip
    name: str
    url: str
    bars: list[Bar]
    more_bars: list[Bar]
    pictures: Pictures | None


def clip_card(clip: ReportClip, labels: Sequence[str], crop_seconds: float, url: str) -> ClipCard:
    """Gathers what a clip's card shows.

    Args:
        clip: of the report.
        labels: names of the classes.
        crop_seconds: length of a window; 0 is the whole clip.
        url: of its audio, relative to the page or embedded; "" if it cannot be decoded.
    """
    shown = shown_classes(clip.windows.mean(axis=0) if len(clip.windows) else clip.probabilities)
    bars = [
        Bar(labels[i], float(clip.probabilities[i]), shown.get(i, OTHERS_COLOUR), bool(i == clip.true))
        for i in np.argsort(-clip.probabilities, kind="stable").tolist()
    ]
    return ClipCard(
        clip=clip,
        name=clip.title or Path(clip.path).name,
        url=url,
        bars=bars[: len(shown)],
        more_bars=bars[len(shown) :],
        pictures=None if clip.problem else _pictures(clip, labels, crop_seconds),
    )


def _pictures(clip: ReportClip, labels: Sequence[str], crop_seconds: float) -> Pictures:
    begin, duration = float(clip.edges[clip.most_confident]), float(clip.edges[-1])
    over_time = timeline(clip.edges, clip.windows, labels)
    return Pictures(
        log_mel=log_mel_uri(clip.images, clip.edges, crop_seconds),
        height=clip.images.shape[2],
        timeline=over_time,
        polygons=timeline_polygons(over_time),
        duration=duration,
        marks=np.linspace(0, duration, 4).tolist(),
        begin=begin,
        end=min(begin + crop_seconds, duration) if crop_seconds else duration,
        probability=float(clip.windows[clip.most_confident, clip.predicted]),
    )


def relative_url(path: str, folder: Path) -> str:
    """Returns the address of a file from a page in `folder`, percent-encoded byte by byte: a name need not be text."""
    return quote_from_bytes(os.fsencode(os.path.relpath(path, folder)), safe="/")


def embedded_url(path: str) -> str:
    """Returns a file's contents as its address."""
    return data_uri(read_clip(path), mimetypes.guess_type(path)[0] or "audio/mpeg")
