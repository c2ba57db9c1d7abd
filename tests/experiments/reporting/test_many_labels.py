"""Report pages of clips with several labels, of very many labels, and of clips without sound."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import multilabel_confusion_matrix
from support.browser import CHROMIUM, open_page

from experiments.evaluation.metrics import classification_metrics
from experiments.evaluation.multi_label import multi_label_metrics
from experiments.reporting.clips import thinned
from experiments.reporting.data import ReportData, gather
from experiments.reporting.errors import label_errors, worst_first
from experiments.reporting.page import render
from experiments.reporting.shown_clips import MultiLabelClip
from experiments.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(small_run) -> ReportData:
    return gather(small_run)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"Old-Time / Historic {i}" for i in range(count))


def with_one_of(data: ReportData, count: int, rng: np.random.Generator) -> ReportData:
    """The same clips with one of so many labels each."""
    probabilities = rng.dirichlet(np.full(count, 0.1), len(data.clips))
    truth = np.where(np.arange(len(data.clips)) % 2, probabilities.argmax(axis=1), rng.integers(0, count))
    scores = classification_metrics(truth, probabilities.argmax(axis=1), names(count))
    clips = [
        dataclasses.replace(
            clip,
            true=int(truth[i]),
            predicted=int(probabilities[i].argmax()),
            probabilities=probabilities[i],
            windows=np.tile(probabilities[i], (len(clip.windows), 1)),
        )
        for i, clip in enumerate(data.clips)
    ]
    metrics = {"test": {"clip": scores, "crop": scores, "failures": 0}}
    return dataclasses.replace(
        data, labels=names(count), metrics=metrics, truth=truth, probabilities=probabilities, clips=clips
    )


def with_several_of(data: ReportData, count: int, rng: np.random.Generator) -> ReportData:
    """The same clips with some of so many labels each, most of them decided wrongly now and then."""
    shape = (len(data.clips), count)
    truth, thresholds = rng.random(shape) < 0.4, rng.uniform(0.3, 0.7, count)
    probabilities = np.clip(rng.random(shape) + 0.3 * truth, 0, 1)
    scores = multi_label_metrics(truth.astype(int), probabilities, thresholds, names(count))
    order, severity = worst_first(probabilities, truth, thresholds)
    clips = []
    for clip, i in zip(data.clips, order, strict=True):
        errors = [j for j in np.argsort(-severity[i]).tolist() if severity[i, j]]
        shared = {
            name: getattr(clip, name) for name in ("path", "title", "artist", "problem", "edges", "images", "peak")
        }
        clips.append(
            MultiLabelClip(
                **shared,
                probabilities=probabilities[i],
                windows=np.tile(probabilities[i], (len(clip.images), 1)),
                has=tuple(np.flatnonzero(truth[i]).tolist()),
                given=tuple(np.flatnonzero(probabilities[i] >= thresholds).tolist()),
                errors=tuple(errors),
                severity=tuple(severity[i, errors].tolist()),
                focus=errors[0] if errors else 0,
            )
        )
    return dataclasses.replace(
        data,
        labels=names(count),
        metrics={"test": {"clip": scores, "crop": scores, "failures": 0}},
        truth=truth,
        probabilities=probabilities,
        thresholds=thresholds,
        clips=clips,
    )


@pytest.mark.parametrize("change", [with_one_of, with_several_of])
def test_a_page_is_bounded(change, data, rng, tmp_path: Path):
    few, many, most = (len(render(change(data, count, rng), tmp_path)) for count in (3, 163, 600))
    assert many < few + 300_000 and most < few + 300_000


def test_errors_by_label_are_scikit_learns(rng):
    truth, given = rng.random((50, 6)) < 0.3, rng.random((50, 6)) < 0.3
    counts = multilabel_confusion_matrix(truth, given)
    errors = label_errors(truth, given)
    assert {error.label: (error.given, error.missed) for error in errors} == {
        i: (counts[i, 0, 1], counts[i, 1, 0]) for i in range(6)
    }
    totals = [error.given + error.missed for error in errors]
    assert totals == sorted(totals, reverse=True)


def test_a_long_clip_has_a_bounded_timeline(rng):
    edges, windows = np.linspace(0, 76_000, 15_001), rng.dirichlet(np.ones(3), 15_000)
    few_edges, few = thinned(edges, windows)
    assert len(few) == len(few_edges) - 1 == 500 and few_edges[-1] == edges[-1]
    np.testing.assert_allclose(few[:3], windows[:90].reshape(3, 30, 3).mean(axis=1))
    same_edges, same = thinned(edges[:4], windows[:3])
    np.testing.assert_array_equal(same, windows[:3])
    np.testing.assert_array_equal(same_edges, edges[:4])


def test_clips_without_sound_are_marked(small_run, tmp_path: Path):
    run_dir = tmp_path / "run"
    shutil.copytree(small_run, run_dir)
    table = pd.read_csv(run_dir / "predictions.csv")
    tone = 0.5 * np.sin(np.arange(44_100) / 20)
    files = {"zeros.wav": np.zeros(44_100), "opposite.wav": np.stack([tone, -tone], 1), "one.wav": tone[1:2]}
    rows = table.index[table["split"] == "test"]
    for row, (name, samples) in zip(rows, files.items(), strict=False):
        soundfile.write(tmp_path / name, samples, 44_100, subtype="FLOAT")
        table.loc[row, "path"] = str(tmp_path / name)
    table.to_csv(run_dir / "predictions.csv", index=False)
    report = gather(run_dir)
    reasons = {Path(clip.path).name: clip.silence for clip in report.clips if clip.silence}
    silent = "no sound: silent"
    assert reasons == {"zeros.wav": silent, "opposite.wav": silent, "one.wav": "no sound: shorter than 0.1 s"}
    assert "3 of the clips shown have no sound" in " ".join(report.notes)
    page = render(report, tmp_path)
    assert page.count('<span class="silent"') == 3 and page.count("No sound: silent. What the model says") == 2


def test_what_a_run_lacks(small_run, tmp_path: Path):
    run_dir = tmp_path / "run"
    shutil.copytree(small_run, run_dir)
    for name in ("curves.png", "confusion_matrix.png", "failures.csv"):
        (run_dir / name).unlink()
    settings = json.loads((run_dir / "settings.json").read_text())
    (run_dir / "settings.json").write_text(json.dumps(settings | {"data_dir": "/gone"}))
    lost = gather(run_dir, 2)
    assert "The data set cannot be read any more" in lost.notes[0] and "/gone" in lost.notes[0]
    assert [(clip.title, clip.artist) for clip in lost.clips] == [("", "")] * 2
    assert "<article" in render(lost, tmp_path)
    metrics = Run(run_dir).metrics
    del metrics["test"]["crop"]["ci95"]
    Run(run_dir).write_metrics(metrics)
    with pytest.raises(ValueError, match=r"expected the scores accuracy, ci95.* found no ci95; evaluate the run again"):
        gather(run_dir, 2)
    (run_dir / "baseline.json").write_text("{}")
    (run_dir / "model.keras").unlink()
    with pytest.raises(ValueError, match=r"expected the run of a network at .*, found one of"):
        gather(run_dir, 2)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser(data, rng, tmp_path: Path):
    output = tmp_path / "report.html"
    visible = "[...document.querySelectorAll('.clip')].filter(c => c.getClientRects().length).map(c => c.querySelector('.path').textContent)"
    several = with_several_of(data, 3, rng)
    with open_page(tmp_path / "profile") as page:
        for change, count in ((with_one_of, 163), (with_several_of, 3), (with_several_of, 163)):
            output.write_text(render(change(data, count, rng), tmp_path))
            for width in (400, 1280):
                page.load(output, width=width)
                assert page.run("document.documentElement.scrollWidth") == width
            assert page.complaints == []
        output.write_text(render(several, tmp_path))
        page.load(output)
        assert page.run(visible) == [clip.path for clip in several.clips if clip.misclassified]
        for name in {name for clip in several.clips for name in clip.groups}:
            chosen = [clip for clip in several.clips if name in clip.groups]
            chosen.sort(key=lambda clip: -clip.groups[name])
            page.run(f"document.querySelector('[data-cell=\"{name}\"]:is(button)').click()")
            assert page.run(visible) == [clip.path for clip in chosen]
        page.run("document.getElementById('clear').click()")
        assert page.run(visible) == [clip.path for clip in several.clips if clip.misclassified]
        page.run("document.querySelector('[value=all]').click()")
        assert len(page.run(visible)) == len(several.clips) and page.complaints == []
