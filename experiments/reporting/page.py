"""A report as one HTML page that needs no network.

The page's words and elements are in templates/*.html.jinja, its style and script beside them. Here the values are
gathered that the templates show. Jinja2 escapes each of them where it is written into the page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation.confusion import confused_pairs, confusion_matrix
from experiments.evaluation.metrics import calibration, shown_rows
from experiments.evaluation.plots import MOST_CELLS
from experiments.reporting.addresses import embedded_url, relative_url
from experiments.reporting.badges import Badge, find_badges
from experiments.reporting.clips import ClipCard, clip_card
from experiments.reporting.data import ReportData, gather
from experiments.reporting.errors import MOST_LABELS, label_errors, named
from experiments.reporting.plots import curve_axes, reliability_axes, reliability_bins
from experiments.reporting.rendering import render_page
from experiments.runs.curves import learning_curves
from pipeline.catalogs.corrections import file_key
from pipeline.storage.atomic import write_text
from pipeline.storage.clips import clip_size, find_record_span

_MOST_ROWS = 200  # of a table: labels, or files that could not be decoded
_EXTREMES = 5  # best and worst labels that are named


def render(
    data: ReportData,
    folder: Path,
    embed_audio: bool = False,
    badges: Mapping[str, Sequence[Badge]] | None = None,
) -> str:
    """Renders a report as HTML.

    Args:
        data: what to show.
        folder: where the page will lie; the audio is addressed from there.
        embed_audio: whether the page holds the misclassified clips' files instead.
        badges: what an audit found of clips, as `find_badges` returns it.
    """
    several = data.thresholds is not None
    parts = _several_labels(data) if several else _one_label(data)
    groups = {f"{kind}-{error.label}" for error in parts["errors"] for kind in ("given", "missed")} if several else None
    per_class, left_out = shown_rows(
        data.metrics["test"]["clip"]["per_class"], "average_precision" if several else "f1", _MOST_ROWS
    )
    return render_page(
        "report.html.jinja",
        ("report.css",),
        "report.js",
        data=data,
        all_settings=dataclasses.asdict(data.settings),
        several=several,
        per_class=per_class,
        left_out=left_out,
        most_failures=_MOST_ROWS,
        named=named,
        **parts,
        curves=None if data.history is None else learning_curves(data.history.to_dict("records")),
        curve_axes=curve_axes,
        cards=_cards(data, folder, embed_audio, groups, badges or {}),
    )


def _one_label(data: ReportData) -> dict[str, Any]:
    """Returns what only a page of clips with one label shows."""
    counts = np.bincount(data.truth, minlength=len(data.labels))
    reliability = calibration(data.probabilities, data.truth)
    few = len(data.labels) <= MOST_CELLS  # a matrix of more would have too many cells to be read, or to be held
    return {
        "most_common": {"label": data.labels[np.argmax(counts)], "share": int(np.max(counts)) / len(data.truth)},
        "bins": reliability_bins(reliability),
        "reliability_axes": reliability_axes(),
        "expected_error": reliability.expected_error,
        "confusions": confusion_matrix(data.truth, data.predicted, len(data.labels)) if few else None,
        "pairs": None if few else confused_pairs(data.truth, data.predicted, len(data.labels)),
    }


def _several_labels(data: ReportData) -> dict[str, Any]:
    """Returns what only a page of clips with several labels shows."""
    errors = label_errors(data.truth, data.predicted)
    scored = [
        (label, scores["average_precision"])
        for label, scores in data.metrics["test"]["clip"]["per_class"].items()
        if scores["average_precision"] is not None
    ]
    ranked = sorted(scored, key=lambda pair: -pair[1])
    best = ranked[: min(_EXTREMES, (len(ranked) + 1) // 2)]
    return {
        "errors": errors[:MOST_LABELS],
        "labels_with_errors": len(errors),
        "best": best,
        "worst": ranked[len(best) :][-_EXTREMES:],
        "has_label": data.truth.sum(axis=0),
    }


def _cards(
    data: ReportData,
    folder: Path,
    embed_audio: bool,
    groups: set[str] | None,
    badges: Mapping[str, Sequence[Badge]],
) -> list[ClipCard]:
    cards = []
    for clip in data.clips:
        url = ""
        if not clip.problem:
            # A clip in a record shard has no file of its own to point at.
            embedded = find_record_span(clip.path) is not None or (embed_audio and clip.misclassified)
            url = embedded_url(clip.path) if embedded else relative_url(clip.path, folder)
        card = clip_card(clip, data.labels, data.settings.crop_seconds, url, data.thresholds, groups)
        cards.append(dataclasses.replace(card, badges=tuple(badges.get(file_key(clip.path), ()))))
    return cards


def write_report(
    run_dir: Path,
    output: Path,
    embed_audio: bool = False,
    max_clips: int | None = None,
    audit_csv: Path | None = None,
) -> str:
    """Gathers a finished run's report and writes it.

    Args:
        run_dir: of the run.
        output: the file that is written.
        embed_audio: whether the page holds the misclassified clips' files.
        max_clips: how many clips to show; None: all.
        audit_csv: the table of an audit, whose findings the clips are to show; None: none.

    Returns:
        What was written, and how large it is, for the user.

    Raises:
        ValueError: the run cannot be shown.
    """
    if output.is_dir():
        raise ValueError(f"expected --output as a file to write, received the directory {output}; name a file in it")
    badges = find_badges(audit_csv, output.parent) if audit_csv else {}
    data = gather(run_dir, max_clips)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, render(data, output.parent, embed_audio, badges))
    wrong = [clip for clip in data.clips if clip.misclassified]
    found = sum(file_key(clip.path) in badges for clip in data.clips)
    embedded_bytes = sum(clip_size(clip.path) for clip in wrong if not clip.problem)
    return "\n".join(
        [
            *(f"note: {note}" for note in data.notes),
            f"{len(wrong)} {'misclassified' if data.thresholds is None else 'with a wrong label'} of {len(data.clips)} test "
            "clips shown",
            *([f"{found} of them have findings of {audit_csv}"] if audit_csv else []),
            f"written to {output}: {output.stat().st_size / 1e6:.1f} MB"
            + f", of which {embedded_bytes * 4 / 3e6:.1f} MB are embedded sound" * embed_audio,
        ]
    )
