"""A clip of a report as HTML: what was predicted, where to listen, and what the network saw. All text is escaped here."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote_from_bytes

import numpy as np

from experiments.reporting.data import ReportClip
from experiments.reporting.figures import OTHERS, as_time, data_uri, draw_timeline, log_mel_uri, shown_classes
from pipeline.storage.clips import read_clip

# Half characters (from file names that are not UTF-8) and control characters, which HTML cannot hold.
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def text(value: object) -> str:
    """Any text from data as HTML, in an element or a quoted attribute."""
    return escape(_NOT_TEXT.sub("\ufffd", str(value)))


def percent(share: float) -> str:
    """A share as text, such as 86.7 %."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def relative_url(path: str, folder: Path) -> str:
    """The address of a file from a page in `folder`, percent-encoded byte by byte: a name need not be text."""
    return quote_from_bytes(os.fsencode(os.path.relpath(path, folder)), safe="/")


def embedded_url(path: str) -> str:
    """A file's contents as its address."""
    return data_uri(read_clip(path), mimetypes.guess_type(path)[0] or "audio/mpeg")


def clip_card(
    number: int, clip: ReportClip, labels: Sequence[str], colours: Sequence[str], crop_seconds: float, url: str
) -> str:
    """One clip.

    Args:
        number: of the clip in the page.
        clip: what to show.
        labels: names of the classes.
        colours: of the classes.
        crop_seconds: length of a window; 0 is the whole clip.
        url: of its audio, relative to the page or embedded.
    """
    name = Path(clip.path).name
    true, predicted = text(labels[clip.true]), text(labels[clip.predicted])
    confidence = percent(clip.probabilities[clip.predicted])
    verdict = f"{true} <span>taken for</span> {predicted}" if clip.misclassified else f"{true} <span>recognised</span>"
    artist = f' <span class="artist">by <bdi>{text(clip.artist)}</bdi></span>' if clip.artist else ""
    if clip.problem:
        middle = f'<p class="problem">No sound and no image: {text(clip.problem)}.</p>'
    else:
        middle = _pictures(clip, labels, colours, crop_seconds) + _player(clip, predicted, crop_seconds, url)
    return (
        f'<article class="clip" data-cell="{clip.true}-{clip.predicted}" aria-labelledby="clip-{number}">'
        f'<header><h3 id="clip-{number}"><bdi>{text(clip.title or name)}</bdi>{artist}</h3>'
        f'<p class="verdict{" wrong" * clip.misclassified}">{verdict} <b>{confidence}</b></p></header>'
        f"{middle}{_bars(clip, labels, colours)}"
        f'<p class="path"><bdi>{text(clip.path)}</bdi></p></article>\n'
    )


def _pictures(clip: ReportClip, labels: Sequence[str], colours: Sequence[str], crop_seconds: float) -> str:
    begin, end = _surest_place(clip, crop_seconds)
    duration = clip.edges[-1]
    marked = f"left:{100 * begin / duration:.2f}%;width:{100 * (end - begin) / duration:.2f}%"
    marks = np.linspace(0, duration, 4)
    return (
        f'<div class="strip" data-seconds="{duration:.3f}">'
        f'<img src="{log_mel_uri(clip.images, clip.edges, crop_seconds)}" width="720" height="{clip.images.shape[2]}" '
        f'alt="Log-mel image of {text(clip.title or Path(clip.path).name)}, as the network sees its windows">'
        f"{draw_timeline(clip.edges, clip.windows, [text(label) for label in labels], colours)}"
        f'<div class="window" style="{marked}"></div><div class="playhead" hidden></div></div>'
        f'<div class="times" aria-hidden="true">{"".join(f"<span>{as_time(mark)}</span>" for mark in marks)}</div>'
    )


def _player(clip: ReportClip, predicted: str, crop_seconds: float, url: str) -> str:
    begin, end = _surest_place(clip, crop_seconds)
    share = percent(clip.windows[clip.surest, clip.predicted])
    place = f"{as_time(begin)}–{as_time(end)}"
    return (
        f'<div class="player"><button type="button" class="play">▶ {place}</button>'
        f'<audio controls preload="none" data-start="{begin:.3f}" src="{url}#t={begin:.3f}"></audio></div>'
        f'<p class="surest">Surest of {predicted} at {place}: {share}</p>'
        '<p class="problem" hidden>This browser cannot play the file: it has moved since the report was made, or its '
        "format is one that browsers do not play.</p>"
    )


def _surest_place(clip: ReportClip, crop_seconds: float) -> tuple[float, float]:
    begin, duration = float(clip.edges[clip.surest]), float(clip.edges[-1])
    return begin, min(begin + crop_seconds, duration) if crop_seconds else duration


def _bars(clip: ReportClip, labels: Sequence[str], colours: Sequence[str]) -> str:
    told_apart = shown_classes(clip.windows.mean(axis=0) if len(clip.windows) else clip.probabilities)
    rows = []
    for i in np.argsort(-clip.probabilities, kind="stable"):
        share = clip.probabilities[i]
        colour = colours[i] if i in told_apart else OTHERS
        role = " <em>true</em>" if i == clip.true else ""
        rows.append(
            f"<li><span><bdi>{text(labels[i])}</bdi>{role}</span>"
            f'<span class="bar"><i style="width:{100 * share:.2f}%;background:{colour}"></i></span>'
            f"<span>{percent(share)}</span></li>"
        )
    first, rest = "".join(rows[: len(told_apart)]), rows[len(told_apart) :]
    more = (
        f'<details><summary>{len(rest)} more</summary><ul class="bars">{"".join(rest)}</ul></details>' if rest else ""
    )
    return f'<ul class="bars" aria-label="Probabilities">{first}</ul>{more}'
