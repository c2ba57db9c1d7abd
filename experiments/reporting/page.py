"""A report as one HTML page that needs no network."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from experiments import __version__
from experiments.evaluation.metrics import Calibration, calibration
from experiments.reporting.clips import clip_card, embedded_url, percent, relative_url, text
from experiments.reporting.data import ReportData, gather
from experiments.reporting.figures import class_colours, draw_curve, draw_reliability
from pipeline.storage.atomic import write_text
from pipeline.storage.clips import clip_size, find_place

_HERE = Path(__file__).resolve().parent
_SIDE_BY_SIDE = 5  # classes of the widest confusion matrix that stands beside the clips


def render(data: ReportData, folder: Path, embed_audio: bool = False) -> str:
    """Writes a report as HTML.

    Args:
        data: what to show.
        folder: where the page will lie; the audio is addressed from there.
        embed_audio: whether the page holds the misclassified clips' files instead.
    """
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    colours = class_colours(len(data.labels))
    cards = []
    for number, clip in enumerate(data.clips):
        url = ""
        if not clip.problem:
            # A clip in a record shard has no file of its own to point at.
            embedded = find_place(clip.path) is not None or (embed_audio and clip.misclassified)
            url = embedded_url(clip.path) if embedded else relative_url(clip.path, folder)
        cards.append(clip_card(number, clip, data.labels, colours, data.settings.crop_seconds, url))
    reliability = calibration(data.probabilities, data.truth)
    template = string.Template((_HERE / "report_template.html").read_text(encoding="utf-8"))
    return template.substitute(
        # Should an escape ever be missed: nothing runs but this script, and nothing is fetched but sound.
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        script=script,
        task=text(_task(data.labels)),
        origin=_origin(data),
        notes="".join(f'<p class="note">{text(note)}</p>' for note in data.notes),
        tiles=_tiles(data),
        scores=_scores(data),
        curves=_curves(data),
        per_class=_per_class(data),
        reliability=draw_reliability(reliability, _intervals(reliability)),
        expected_error=percent(reliability.expected_error),
        matrix=_matrix(data),
        matrix_class="beside" if len(data.labels) <= _SIDE_BY_SIDE else "above",
        misclassified=sum(clip.misclassified for clip in data.clips),
        total=len(data.clips),
        clips="".join(cards),
        failures=_failures(data),
        made_with=_made_with(data),
        settings=_table(("setting", "value"), dataclasses.asdict(data.settings).items()),
        version=__version__,
        today=_as_date(datetime.datetime.now()),
    )


def write_report(run_dir: Path, output: Path, embed_audio: bool = False, max_clips: int | None = None) -> str:
    """Gathers a finished run's report and writes it.

    Args:
        run_dir: of the run.
        output: the page.
        embed_audio: whether the page holds the misclassified clips' files.
        max_clips: how many clips to show; None: all.

    Returns:
        What to tell the user.

    Raises:
        ValueError: the run cannot be shown.
    """
    if output.is_dir():
        raise ValueError(f"expected --output as a file to write, received the directory {output}; name a file in it")
    data = gather(run_dir, max_clips)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, render(data, output.parent, embed_audio))
    wrong = [clip for clip in data.clips if clip.misclassified]
    embedded_bytes = sum(clip_size(clip.path) for clip in wrong if not clip.problem)
    return "\n".join(
        [
            *(f"note: {note}" for note in data.notes),
            f"{len(wrong)} misclassified of {len(data.clips)} test clips shown",
            f"written to {output}: {output.stat().st_size / 1e6:.1f} MB"
            + f", of which {embedded_bytes * 4 / 3e6:.1f} MB are embedded sound" * embed_audio,
        ]
    )


def _task(labels: Sequence[str]) -> str:
    if len(labels) > 6:
        return f"Which of {len(labels)} genres?"
    return f"{', '.join(labels[:-1])} or {labels[-1]}?"


def _as_date(moment: datetime.datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _origin(data: ReportData) -> str:
    trained = data.description["training_data"]["clips"]["training"]
    return (
        f"The network <b>{text(data.settings.model)}</b>, trained on {trained} clips of "
        f"<b><bdi>{text(data.settings.data_dir)}</bdi></b>, scored {_as_date(data.finished)}."
    )


def _tiles(data: ReportData) -> str:
    clip, crop = data.metrics["test"]["clip"], data.metrics["test"]["crop"]
    common = np.bincount(data.truth, minlength=len(data.labels))
    tiles = [
        ("Test accuracy by clip", percent(clip["accuracy"]), f"{_interval(clip)}, {clip['n']} clips"),
        ("Test accuracy by crop", percent(crop["accuracy"]), f"{_interval(crop)}, {crop['n']} crops"),
        ("Misclassified", str(int((data.predicted != data.truth).sum())), f"of {len(data.truth)} test clips"),
        ("Guessing one genre", percent(common.max() / common.sum()), f"always {data.labels[common.argmax()]}"),
    ]
    return "".join(f"<div><dt>{text(a)}</dt><dd><b>{text(b)}</b><span>{text(c)}</span></dd></div>" for a, b, c in tiles)


def _interval(scores: dict) -> str:
    low, high = scores["ci95"]
    return f"{100 * low:.1f}–{percent(high)}"


def _scores(data: ReportData) -> str:
    rows = [
        (
            f"{split}, by {unit}",
            percent(scores[unit]["accuracy"]),
            _interval(scores[unit]),
            percent(scores[unit]["balanced_accuracy"]),
            scores[unit]["n"],
        )
        for split, scores in data.metrics.items()
        for unit in ("clip", "crop")
    ]
    return _table(("split", "accuracy", "interval", "balanced", "n"), rows)


def _curves(data: ReportData) -> str:
    history = data.history
    epochs = history["epoch"].astype(int).tolist()
    kept = epochs[int(history["val_loss"].argmin())]
    figures = []
    for column, name, top in (("accuracy", "Accuracy by crop", 1.0), ("loss", "Cross-entropy in nats", 0.0)):
        values = history[column].tolist(), history[f"val_{column}"].tolist()
        figures.append(
            f"<figure><figcaption>{name}</figcaption>{draw_curve(epochs, *values, kept, name, top)}</figure>"
        )
    key = (
        '<p class="key"><span class="training">training</span> <span class="validation">validation</span> '
        f'<span class="kept">kept: epoch {kept} of {len(epochs)}, the lowest validation loss</span></p>'
    )
    return f'<div class="figures">{"".join(figures)}</div>{key}'


def _per_class(data: ReportData) -> str:
    rows = [
        (label, *(percent(scores[name]) for name in ("precision", "recall", "f1")), scores["n"])
        for label, scores in data.metrics["test"]["clip"]["per_class"].items()
    ]
    return _table(("genre", "precision", "recall", "F1", "clips"), rows)


def _intervals(reliability: Calibration) -> list[tuple[float, float]]:
    hits = np.round(reliability.accuracy * reliability.counts).astype(int)
    wilson = [
        binomtest(int(hit), int(count)).proportion_ci(method="wilson") if count else None
        for hit, count in zip(hits, reliability.counts, strict=True)
    ]
    return [(float(one.low), float(one.high)) if one else (0.0, 1.0) for one in wilson]


def _matrix(data: ReportData) -> str:
    """The confusion matrix; a click on a cell's button filters the clips."""
    labels = [text(label) for label in data.labels]
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, (data.truth, data.predicted), 1)
    head = "".join(f'<th scope="col"><span>{label}</span></th>' for label in labels)
    rows = []
    for i, true in enumerate(labels):
        cells = []
        for j, predicted in enumerate(labels):
            count = counts[i, j]
            if not count:
                cells.append("<td>0</td>")
                continue
            share = count / counts[i].sum()
            what = f"{true} recognised" if i == j else f"{true} taken for {predicted}"
            cells.append(
                f'<td style="--share:{share:.3f}"><button type="button" aria-pressed="false" data-cell="{i}-{j}" '
                f'data-what="{what}" aria-label="{what}: {count} clips, {share:.0%} of {true}">'
                f"{count}<small>{share:.0%}</small></button></td>"
            )
        rows.append(f'<tr><th scope="row">{true}</th>{"".join(cells)}</tr>')
    return (
        f'<table class="matrix"><caption>Rows: true genre. Columns: predicted.</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _failures(data: ReportData) -> str:
    if not data.failures:
        return "<p>None: every file could be decoded.</p>"
    rows = [(row["path"], row["reason"], row["label"], row["split"]) for row in data.failures]
    return _table(("file", "reason", "label", "split"), rows)


def _made_with(data: ReportData) -> str:
    settings, description = data.settings, data.description
    trained = description["training_data"]
    highest_hz = settings.fmax_hz or settings.sample_rate_hz / 2
    facts = {
        "Data": f"{settings.dataset}: {', '.join(f'{count} {split}' for split, count in trained['clips'].items())} clips; "
        f"catalog {trained['catalog_sha256'][:12]}",
        "Windows": f"{settings.crop_seconds:g} s at {settings.sample_rate_hz} Hz"
        if settings.crop_seconds
        else "whole clips",
        "Front end": f"{settings.n_mels} mel bands, {settings.fmin_hz:g}–{highest_hz:g} Hz; windows of {settings.n_fft} "
        f"samples, {settings.hop_length} apart; {settings.top_db:g} dB, {settings.scaling}",
        "Network": f"{settings.model}, {description['parameters']:,} parameters; weights {description['weights_sha256'][:12]}",
        "Training": f"epochs {len(data.history)}, crops of a clip in each {settings.crops_per_clip}, batch {settings.batch_size}, "
        f"learning rate {settings.learning_rate:g}, label smoothing {settings.label_smoothing:g}, seed {settings.seed}",
        "Versions (of this report)": ", ".join(
            f"{name} {version}" for name, version in description["libraries"].items()
        ),
    }
    return "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())


def _table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table whose first column names its rows; it scrolls in a box of its own."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = []
    for first, *others in rows:
        cells = "".join(f"<td>{text(value)}</td>" for value in others)
        body.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
