"""Features before training: against librosa and scikit-learn, in both kinds of vector, with labels of any text."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from support.small_run import SMALL_FEATURES

from experiments.exploration import features as exploration
from experiments.exploration import plots as feature_plots
from experiments.settings import Settings
from layers.front_ends.log_mel import LogMelSpectrogram
from pipeline.dataset import eval_dataset
from pipeline.failures import FailureLedger

pytestmark = pytest.mark.slow

HOSTILE = ("$\\frac{$", "_hidden", 'two\nlines, "quoted"', "=1+1", "x" * 80)


@pytest.fixture(scope="module")
def settings(small_fma) -> Settings:
    return Settings(dataset="fma", data_dir=str(small_fma), max_failure_rate=0.05, **SMALL_FEATURES)


@pytest.fixture(scope="module")
def explored(settings, tmp_path_factory) -> tuple[Path, dict]:
    output_dir = tmp_path_factory.mktemp("features") / "all"
    return output_dir, exploration.explore(settings, output_dir, "all")


def crops_of(paths: list[str]) -> list[np.ndarray]:
    """Each clip's crops [crops, samples]."""
    crops: list[list[np.ndarray]] = [[] for _ in paths]
    for waveform, places in eval_dataset(paths, FailureLedger(1), sample_rate_hz=8000, crop_seconds=2, batch_size=64):
        for crop, place in zip(waveform.numpy(), places.numpy(), strict=True):
            crops[place].append(crop)
    return [np.stack(clip) for clip in crops]


def librosa_images(crops: np.ndarray) -> np.ndarray:
    """Standardised log-mel images [crops, frames, n_mels]."""
    images = []
    for crop in crops:
        mel = librosa.feature.melspectrogram(y=crop, sr=8000, n_fft=512, hop_length=256, n_mels=32, pad_mode="reflect")
        decibel = librosa.power_to_db(mel, ref=np.max)
        images.append((decibel - decibel.mean()).T / decibel.std())
    return np.stack(images)


def test_components_and_scores_are_those_of_librosas_features(explored):
    output_dir, description = explored
    assert json.loads((output_dir / "features.json").read_text()) == description
    table = pd.read_csv(output_dir / "features_pca.csv")
    assert table.columns.tolist() == ["track_id", "path", "label", "split", "pc1", "pc2"]
    assert len(table) == description["clips"] == 24 and description["dimensions"] == 64
    images = [librosa_images(crops) for crops in crops_of(table["path"].tolist())]
    vectors = np.stack([np.concatenate([clip.mean(axis=(0, 1)), clip.std(axis=(0, 1))]) for clip in images])
    reference = PCA(2).fit(vectors)
    np.testing.assert_allclose(description["explained_variance"], reference.explained_variance_ratio_, atol=1e-3)
    theirs = reference.transform(vectors)
    theirs *= np.sign(np.sum(theirs * table[["pc1", "pc2"]], axis=0)).to_numpy()  # a component's sign is arbitrary
    np.testing.assert_allclose(table[["pc1", "pc2"]], theirs, atol=0.02)
    assert description["silhouette"] == pytest.approx(silhouette_score(vectors, table["label"]), abs=2e-3)
    assert description["knn_balanced_accuracy"] is None or 0 <= description["knn_balanced_accuracy"] <= 1


def test_undecodable_file_is_in_the_ledger_and_nowhere_else(explored):
    output_dir, _ = explored
    with open(output_dir / "failures.csv", newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["label"] == "Rock"
    assert failure["path"] not in set(pd.read_csv(output_dir / "features_pca.csv")["path"])


def test_image_of_the_middle_crop(settings, tmp_path: Path):
    description = exploration.explore(settings, tmp_path, "validation", "image")
    assert description["clips"] == 6 and description["dimensions"] == 63 * 32
    assert description["score_space"] == "6 principal components"
    table = pd.read_csv(tmp_path / "features_pca.csv")
    vectors = [librosa_images(crops[len(crops) // 2 :][:1]).ravel() for crops in crops_of(table["path"].tolist())]
    reference = PCA(2).fit(np.stack(vectors))
    np.testing.assert_allclose(description["explained_variance"], reference.explained_variance_ratio_, rtol=1e-3)
    ours = table[["pc1", "pc2"]].to_numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(reference.transform(np.stack(vectors))), rtol=1e-2, atol=0.1)


def test_pictures_have_content(explored):
    output_dir, _ = explored
    for name in ("features_pca.png", "genres.png"):
        with Image.open(output_dir / name) as image:
            assert min(image.size) > 400 and len(image.getcolors(1 << 24) or []) > 50


@pytest.mark.parametrize("count", [3, 150, 399, 400, 700])
def test_incremental_components_are_pcas(rng, count: int):
    vectors = rng.normal(size=(count, 8)) * np.arange(1, 9) + 5
    ours = exploration.fit_components(iter(vectors))
    theirs = PCA(min(count, 8)).fit(vectors)
    np.testing.assert_allclose(ours.explained_variance_ratio_[:2], theirs.explained_variance_ratio_[:2], rtol=1e-6)
    np.testing.assert_allclose(
        np.abs(ours.transform(vectors)[:, :2]), np.abs(theirs.transform(vectors)[:, :2]), atol=1e-6
    )
    with pytest.raises(ValueError, match="at least 3 decodable clips, found 2"):
        exploration.fit_components(iter(vectors[:2]))


def test_neighbours_of_the_same_artist_do_not_help(rng):
    """Every artist has a place of his own, which says nothing of the label."""
    artists = np.repeat(np.arange(20), 10)
    places = rng.normal(size=(20, 5)) * 10
    vectors = places[artists] + rng.normal(size=(200, 5)) * 0.01
    label = np.where(artists % 2, "a", "b")
    tracks = pd.DataFrame({"label": label, "artist": [f"artist {i}" for i in artists], "album": ""})
    assert exploration.separability(vectors, tracks)["knn_balanced_accuracy"] < 0.8
    assert exploration.separability(vectors, tracks.assign(artist=""))["knn_balanced_accuracy"] == 1
    apart = exploration.separability(vectors + 1000 * (artists % 2)[:, np.newaxis], tracks)
    assert apart["knn_balanced_accuracy"] == 1 and apart["silhouette"] > 0.9
    single = exploration.separability(vectors, tracks.assign(artist=label))
    assert single["knn_balanced_accuracy"] is None and "one artist only (a, b)" in single["notes"][0]
    alone = exploration.separability(vectors, tracks.assign(label="a"))
    assert alone["silhouette"] is None and alone["knn_balanced_accuracy"] is None and len(alone["notes"]) == 2


def test_labels_of_any_text(rng, tmp_path: Path, monkeypatch):
    figures = []
    save = feature_plots.save_figure
    monkeypatch.setattr(feature_plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    labels = [*HOSTILE, *(f"label {i}" for i in range(16))]
    table = pd.DataFrame({"label": labels * 3, "pc1": rng.random(63), "pc2": rng.random(63)})
    feature_plots.plot_components(table, labels, (0.5, 0.25), tmp_path / "pca.png")
    (legend,) = figures[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == 21 and names[:3] == ["$\\frac{$ (3)", "_hidden (3)", 'two lines, "quoted" (3)']
    images = feature_plots.GenreImages(HOSTILE)
    for label in HOSTILE[:2]:
        images.add(label, rng.normal(size=(2, 10, 8)))
    feature_plots.plot_genres(images, LogMelSpectrogram(), tmp_path / "genres.png")
    assert [axis.get_ylabel() for axis in figures[1].axes[:8:4]] == list(HOSTILE[:2])
    assert not plt.get_fignums(), "figures are left open"


def test_mean_image_is_that_of_all_crops(rng):
    images = feature_plots.GenreImages(["a"])
    clips = [rng.normal(size=(count, 4, 3)) for count in (1, 2, 5, 2)]
    for clip in clips:
        images.add("a", clip)
    np.testing.assert_allclose(images.mean("a"), np.concatenate(clips).mean(axis=0))
    assert [example.tolist() for example in images.examples["a"]] == [
        clip[len(clip) // 2].tolist() for clip in clips[:3]
    ]


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"crop_seconds": 0.0}, (), "crops of one length"),
        ({"crop_seconds": 0.05}, (), "at least n_fft=512 samples"),
        ({}, ("training", "sound"), "statistics, image"),
        ({"data_dir": "/nowhere"}, (), "found no tracks.csv"),
        ({"max_failure_rate": 0.0}, ("training",), "at most 0 undecodable files"),
    ],
)
def test_mistakes(settings, tmp_path: Path, changes: dict, arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        exploration.explore(replace(settings, **changes), tmp_path / "out", *arguments)
