"""The report page: its data against the run's own files, its figures, and what hostile names can do to it (nothing)."""

import base64
import dataclasses
import io
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import librosa
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix
from support.browser import CHROMIUM, open_page
from support.small_run import SMALL_FEATURES

from experiments.evaluation.evaluation import write_evaluation
from experiments.evaluation.splits import SplitPredictions
from experiments.reporting.data import gather
from experiments.reporting.page import render, write_report
from experiments.reporting.plots import log_mel_uri
from experiments.reporting.rendering import TEMPLATES
from experiments.runs.run import Run
from pipeline.catalogs.catalog import Catalog
from pipeline.decoding.soundfile_decoder import decode_crop, read_info
from pipeline.failures import FailureLedger

pytestmark = pytest.mark.slow

NAMES = [
    b"plain.mp3",
    b"with space #1 ?q=2&x=%41 50%.mp3",
    b"\"quoted\" 'too' <b>.mp3",
    b"latin-1 \xe9\xff.mp3",
    "ж😀 a:b;c.mp3".encode(),
]
LABELS = ("</script><script>hacked = 1</script>", "\"Rock\" & 'Roll' $task\u2028", "<img src=x onerror='hacked = 1'>")
TITLE = "</bdi></article></script><script>hacked = 1</script>\u2028\u2029\x00\u202e --> $clips ${script}"
ARTIST = '" onmouseover="hacked = 1" \' autofocus onfocus=\'hacked = 1'


class Parsed(HTMLParser):
    """The elements of a page in order, with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def data(small_run):
    return gather(small_run)


@pytest.fixture(scope="module")
def hostile(data, tmp_path_factory):
    """The same data under names that break a page which trusts them; the clips alternate between right and wrong."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path_factory.mktemp("music")) + b"/#1 \xe9 %2e 'x'"))
    folder.mkdir()
    clips = []
    for i, clip in enumerate(data.clips):
        path = str(folder / os.fsdecode(NAMES[i % len(NAMES)]))
        shutil.copy(clip.path, path)
        true = (clip.predicted + (i % 2 == 0)) % 3
        clips.append(dataclasses.replace(clip, path=path, title=TITLE, artist=ARTIST, true=true))
    wrong_first = sorted(clips, key=lambda clip: not clip.misclassified)
    per_class = dict(zip(LABELS, data.metrics["test"]["clip"]["per_class"].values(), strict=True))
    metrics = {"test": data.metrics["test"] | {"clip": data.metrics["test"]["clip"] | {"per_class": per_class}}}
    return dataclasses.replace(
        data,
        labels=LABELS,
        metrics=metrics,
        truth=np.array([clip.true for clip in clips]),
        probabilities=np.array([clip.probabilities for clip in clips]),
        clips=wrong_first,
        failures=[{"path": clips[3].path, "reason": TITLE, "label": LABELS[0], "split": ARTIST}],
        notes=[TITLE],
        settings=dataclasses.replace(data.settings, data_dir=str(folder), genres=LABELS),
    )


def test_clips_are_the_runs_own(data, small_run, small_fma):
    table = pd.read_csv(small_run / "predictions.csv").query("split == 'test'").set_index("path")
    assert sorted(clip.path for clip in data.clips) == sorted(table.index)
    wrong = table[table["label"] != table["predicted"]]
    assert {clip.path for clip in data.clips if clip.misclassified} == set(wrong.index)
    assert [clip.misclassified for clip in data.clips] == [True] * len(wrong) + [False] * (len(table) - len(wrong))
    confidence = [clip.probabilities.max() for clip in data.clips]
    assert confidence[: len(wrong)] == sorted(confidence[: len(wrong)], reverse=True)
    tracks = pd.read_csv(small_fma / "fma_metadata" / "tracks.csv", header=[0, 1], index_col=0)
    for clip in data.clips:
        row = table.loc[clip.path]
        assert (data.labels[clip.true], data.labels[clip.predicted]) == (row["label"], row["predicted"])
        expected = [row[f"probability_{label}"] for label in data.labels]
        np.testing.assert_allclose(clip.probabilities, expected, rtol=1e-12)
        np.testing.assert_allclose(clip.windows.mean(axis=0), expected, atol=1e-6)
        assert clip.edges[0] == 0 and clip.edges[-1] == read_info(clip.path).duration_seconds
        assert len(clip.edges) == len(clip.windows) + 1 == len(clip.images) + 1 and clip.problem == ""
        track = tracks.loc[int(Path(clip.path).stem)]
        assert (clip.title, clip.artist) == (track["track", "title"], track["artist", "name"])
    assert data.metrics == Run(small_run).metrics and data.notes == []
    assert len(data.failures) == 1 and data.failures == Run(small_run).failures


def test_images_are_the_log_mel_of_the_windows(data):
    clip = data.clips[0]
    seconds, rate = SMALL_FEATURES["crop_seconds"], SMALL_FEATURES["sample_rate_hz"]
    samples = round(seconds * rate)
    for i, image in enumerate(clip.images):
        waveform = decode_crop(clip.path, rate, samples, i / (len(clip.images) - 1))
        power = librosa.feature.melspectrogram(
            y=waveform, sr=rate, n_fft=512, hop_length=256, n_mels=32, pad_mode="reflect"
        )
        decibel = librosa.power_to_db(power, ref=np.max).T  # [frames, mels]
        expected = (decibel - decibel.min()) / np.ptp(decibel) * 255
        # The image is wider than the window has frames: those in its middle stand between their neighbours.
        places = (np.arange(len(image)) + 0.5) / len(image) * len(expected) - 0.5
        between = np.array([np.interp(places, np.arange(len(expected)), band) for band in expected.T]).T
        assert np.corrcoef(image.ravel(), between.ravel())[0, 1] > 0.97
        assert image.min() < 16 and image.max() > 240

    uri = log_mel_uri(clip.images, clip.edges, seconds)
    with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) as picture:
        brightness = np.asarray(picture.convert("L"), float)[::-1].T  # [pixels, mels], low bands first
    assert brightness.shape == (720, 32)
    middle = [int((clip.edges[i] + 0.5) / clip.edges[-1] * 720) for i in range(len(clip.images))]
    shown = np.array([brightness[place] for place in middle])
    window_at = clip.images[:, int(0.5 / seconds * clip.images.shape[1])]
    assert np.corrcoef(shown.ravel(), window_at.ravel())[0, 1] > 0.97


def test_plots_show_the_runs_files(data, small_run, tmp_path):
    page = Parsed(render(data, tmp_path))
    history = pd.read_csv(small_run / "history.csv")
    best = history.iloc[history["val_loss"].argmin()]
    labels = [attributes["aria-label"] for attributes in page.all("svg") if attributes["class"] == "plot"]
    for name, label in zip(("accuracy", "loss"), labels, strict=False):
        shown = f"kept epoch {best['epoch']:.0f}: training {best[name]:.3f}, validation {best[f'val_{name}']:.3f}."
        assert label.endswith(shown)
    counts = confusion_matrix(data.truth, data.predicted, labels=range(len(data.labels)))
    cells = {
        attributes["data-cell"]: attributes["aria-label"]
        for attributes in page.all("button")
        if "data-cell" in attributes
    }
    assert len(cells) == np.count_nonzero(counts)
    for cell, label in cells.items():
        true, predicted = map(int, cell.split("-"))
        share = counts[true, predicted] / counts[true].sum()
        assert label.endswith(f": {counts[true, predicted]} clips, {share:.0%} of {data.labels[true]}")
    polygons = [
        np.array([point.split(",") for point in attributes["points"].split()], float)
        for attributes in page.all("polygon")
    ]
    assert len(polygons) == len(data.clips) * len(data.labels)
    for place, polygon in enumerate(polygons):
        clip, label = data.clips[place // len(data.labels)], place % len(data.labels)
        x, y = polygon.T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2  # the shoelace formula
        expected = np.average(clip.windows[:, label], weights=np.diff(clip.edges))
        assert area / (1000 * 100) == pytest.approx(expected, abs=2e-3)


def test_fewer_clips_and_lost_files(small_run, data, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(small_run, run_dir)
    table = pd.read_csv(run_dir / "predictions.csv")
    lost = data.clips[0].path
    other = data.clips[1].path
    table["path"] = table["path"].replace(lost, str(tmp_path / "gone.mp3"))
    rows = table["path"] == other
    table.loc[rows, "probability_Rock"] += 0.01
    table.to_csv(run_dir / "predictions.csv", index=False)
    few = gather(run_dir, max_clips=2)
    assert {clip.path for clip in few.clips} == {str(tmp_path / "gone.mp3"), other}
    problem = {clip.path: clip.problem for clip in few.clips}
    assert problem == {str(tmp_path / "gone.mp3"): "file not found", other: ""}
    notes = " ".join(few.notes)
    assert "2 of 6 test clips are shown" in notes and "1 of the clips shown cannot be decoded" in notes
    assert "1 of the clips shown give other probabilities" in notes
    assert len(few.truth) == 6
    page = Parsed(render(few, tmp_path))
    assert len(page.all("audio")) == 1 and "No sound and no image: file not found." in page.text
    for damage, message in (
        ({"max_clips": 0}, r"at least 1 clip, received --max_clips=0"),
        ({"predicted": "path"}, r"run's predictions in .*no column predicted"),
        ({"probability_Rock": "x"}, r"expected test clips with the columns .*probability_Rock"),
    ):
        table.rename(columns=damage).to_csv(run_dir / "predictions.csv", index=False)
        with pytest.raises(ValueError, match=message):
            gather(run_dir, damage.get("max_clips"))
    (run_dir / "history.csv").write_text("epoch\n1\n")
    shutil.copy(small_run / "predictions.csv", run_dir)
    with pytest.raises(ValueError, match=r"history of the training in .*its columns are epoch"):
        gather(run_dir, 1)


def test_hostile_names_change_no_element(hostile, tmp_path):
    """The page has the elements and attributes that it has with harmless names, and shows the names as text."""
    page = render(hostile, tmp_path)
    page.encode()  # a lone surrogate would not encode
    test = hostile.metrics["test"]
    per_class = dict(zip("abc", test["clip"]["per_class"].values(), strict=True))
    harmless = dataclasses.replace(
        hostile,
        labels=("a", "b", "c"),
        metrics={"test": test | {"clip": test["clip"] | {"per_class": per_class}}},
        clips=[dataclasses.replace(clip, title="t", artist="a") for clip in hostile.clips],
        failures=[dict.fromkeys(hostile.failures[0], "x")],
        notes=["n"],
    )
    shape = [(tag, sorted(attributes)) for tag, attributes in Parsed(page).elements]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in Parsed(render(harmless, tmp_path)).elements]
    parsed = Parsed(page)
    for name in (*LABELS, ARTIST, TITLE.replace("\x00", "\ufffd")):
        assert name in parsed.text
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert script == (TEMPLATES / "report.js").read_text()
    assert not re.search(r"(?:src|href)=\"?(?:https?:|//|javascript:)", page)


def resolve(page: Path, address: str) -> bytes:
    """The file that a browser opens for an address in a page."""
    parts = urlsplit(urljoin(page.as_uri(), address))
    assert parts.scheme == "file" and not parts.query
    return unquote_to_bytes(parts.path)


def test_links_lead_to_the_files(hostile, tmp_path):
    page = tmp_path / "a b" / "c#d" / "report.html"
    players = Parsed(render(hostile, page.parent)).all("audio")
    assert len(players) == len(hostile.clips) == 6
    for clip, player in zip(hostile.clips, players, strict=True):
        assert resolve(page, player["src"]) == os.fsencode(clip.path)
        start = clip.edges[np.argmax(clip.windows[:, clip.predicted])]
        assert urlsplit(player["src"]).fragment == f"t={start:.3f}" and float(player["data-start"]) == pytest.approx(
            start
        )


def test_embedded_sound_is_the_file(hostile, tmp_path):
    players = Parsed(render(hostile, tmp_path, embed_audio=True)).all("audio")
    for clip, player in zip(hostile.clips, players, strict=True):
        if clip.misclassified:
            contents, fragment = player["src"].removeprefix("data:audio/mpeg;base64,").split("#")
            assert base64.b64decode(contents, validate=True) == Path(clip.path).read_bytes() and fragment.startswith(
                "t="
            )
        else:
            assert resolve(tmp_path / "r.html", player["src"]) == os.fsencode(clip.path)


def test_the_command_writes_the_page_and_says_its_size(small_run, data, tmp_path):
    output = tmp_path / "new" / "page.html"
    said = write_report(small_run, output, embed_audio=True)
    wrong = [clip for clip in data.clips if clip.misclassified]
    embedded = sum(4 * Path(clip.path).stat().st_size / 3e6 for clip in wrong)
    assert f"{output.stat().st_size / 1e6:.1f} MB, of which {embedded:.1f} MB are embedded sound" in said
    assert [path.name for path in output.parent.iterdir()] == ["page.html"]
    with pytest.raises(ValueError, match="received the directory"):
        write_report(small_run, tmp_path)


def test_names_that_are_not_text_survive_the_runs_files(tmp_path):
    path = str(tmp_path / os.fsdecode(b"\xe9\xff.mp3"))
    tracks = pd.DataFrame([{"track_id": path, "path": path, "label": "a", "split": "test"}])
    probabilities = np.array([[0.25, 0.75]])
    split = SplitPredictions(tracks, np.array([0]), probabilities, np.array([0]), probabilities, 0)
    write_evaluation(Run(tmp_path), {"test": split}, ("a", "b"))
    table = Run(tmp_path).predictions(("path", "label"))
    assert table["path"].tolist() == [path] and table["probability_b"].tolist() == [0.75]
    ledger = FailureLedger(1, 1.0)
    ledger.record(path, "broken")
    Run(tmp_path).write_failures(ledger, Catalog(tracks, ("a", "b")))
    assert [row["path"] for row in Run(tmp_path).failures] == [path]


def with_more_classes(data, count):
    """The same data with classes of no probability added."""

    def widen(probabilities):
        return np.pad(probabilities, [(0, 0)] * (probabilities.ndim - 1) + [(0, count - len(data.labels))])

    clips = [
        dataclasses.replace(clip, probabilities=widen(clip.probabilities), windows=widen(clip.windows))
        for clip in data.clips
    ]
    labels = (*data.labels, *(f"Old-Time / Historic {i}" for i in range(count - len(data.labels))))
    return dataclasses.replace(data, labels=labels, probabilities=widen(data.probabilities), clips=clips)


def test_many_classes(hostile, tmp_path):
    page = Parsed(render(with_more_classes(hostile, 12), tmp_path))
    cells = [attributes["data-cell"] for attributes in page.all("button") if "data-cell" in attributes]
    assert set(cells) == {f"{clip.true}-{clip.predicted}" for clip in hostile.clips}
    assert page.text.count("3 more") == 6 and "Which of 12 genres?" in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser(hostile, tmp_path):
    output = tmp_path / "report.html"
    lost = dataclasses.replace(hostile.clips[-1], path=str(tmp_path / "moved away.mp3"))
    shutil.copy(hostile.clips[-1].path, lost.path)
    shown = dataclasses.replace(hostile, clips=[*hostile.clips[:-1], lost])
    output.write_text(render(shown, tmp_path))
    Path(lost.path).unlink()
    visible = "[...document.querySelectorAll('.clip')].filter(clip => clip.getClientRects().length).map(clip => clip.dataset.cell).join()"
    pressed = "[...document.querySelectorAll('.matrix [aria-pressed=true]')].map(cell => cell.dataset.cell).join()"
    state = "document.getElementById('state').textContent"
    cells = [f"{clip.true}-{clip.predicted}" for clip in shown.clips]
    wrong = [f"{clip.true}-{clip.predicted}" for clip in shown.clips if clip.misclassified]
    assert len(wrong) == 3 and len(cells) == 6
    with open_page(tmp_path / "profile") as page:
        page.load(output)
        assert page.run("typeof hacked") == "undefined" and page.complaints == []
        assert page.run(visible) == ",".join(wrong) and page.run(state) == "3 of 6 clips: the misclassified"

        button = f"document.querySelector('.matrix [data-cell=\"{wrong[0]}\"]')"
        page.run(f"{button}.click()")
        chosen = [cell for cell in cells if cell == wrong[0]]
        assert page.run(visible) == ",".join(chosen) and page.run(pressed) == wrong[0]
        true, predicted = (LABELS[int(i)] for i in wrong[0].split("-"))
        assert page.run(state) == f"{len(chosen)} of 6 clips: {true} taken for {predicted}"
        page.run(f"{button}.click()")
        assert page.run(visible) == ",".join(wrong) and page.run(pressed) == ""
        page.run(f"{button}.focus()")
        page.press("Enter", "\r")
        assert page.run(pressed) == wrong[0]
        page.run("document.querySelector('[value=all]').click()")
        assert page.run(visible) == ",".join(cells) and page.run(pressed) == "" and page.run(state) == "6 of 6 clips"
        page.run(f"{button}.click()")
        page.run("document.getElementById('clear').click()")
        assert page.run(visible) == ",".join(cells) and page.run(pressed) == ""

        starts = [clip.edges[clip.most_confident] for clip in shown.clips]
        for i, start in enumerate(starts[:-1]):  # whatever their names
            page.run(f"document.querySelectorAll('.play')[{i}].click()")
            page.wait_for(f"a = document.querySelectorAll('audio')[{i}], !a.paused && a.currentTime > {start + 0.02}")
            assert page.run(f"document.querySelectorAll('audio')[{i}].currentTime") < start + 2
        assert page.run("[...document.querySelectorAll('audio')].filter(audio => !audio.paused).length") == 1
        assert page.complaints == []
        problems = "[...document.querySelectorAll('.problem')].map(text => text.getClientRects().length).join()"
        page.run("document.querySelectorAll('.play')[5].click()")
        page.wait_for(f"{problems} === '0,0,0,0,0,1'")

        page.load(output, width=400)
        assert page.run("document.documentElement.scrollWidth") == 400
        output.write_text(render(with_more_classes(shown, 12), tmp_path))
        for width in (400, 1280):
            page.load(output, width=width)
            assert page.run("document.documentElement.scrollWidth") == width

        output.write_text(render(shown, tmp_path, embed_audio=True))
        page.load(output)
        page.run("document.querySelector('.play').click()")
        page.wait_for(f"a = document.querySelector('audio'), !a.paused && a.currentTime > {starts[0] + 0.02}")
        assert page.run("document.querySelector('audio').currentSrc.slice(0, 15)") == "data:audio/mpeg"

        # The page's own policy holds where an escape is missed.
        output.write_text(
            render(shown, tmp_path).replace("<h2", "<script>hacked = 1</script><img src=x onerror='hacked = 1'><h2", 1)
        )
        page.load(output)
        assert page.run("typeof hacked") == "undefined" and len(page.complaints) > 0
