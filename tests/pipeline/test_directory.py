"""A folder as datasets: against Keras's own loader on WAV files, and with what Keras's cannot read."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import soundfile
from support.audio import music, write_mp3

from pipeline import FailureLedger, audio_dataset_from_directory
from pipeline.decoding import decode_crop

RATE_HZ = 8000


@pytest.fixture(scope="module")
def wavs(tmp_path_factory) -> Path:
    """16 bits, mono, of different lengths; one class has a folder of its own in it."""
    root = tmp_path_factory.mktemp("wavs")
    for number in range(11):
        label = ("b", "a", "c/deep")[number % 3]
        path = root / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(0.2 + 0.05 * (number % 4), RATE_HZ, seed=number), RATE_HZ, subtype="PCM_16")
    return root


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    for number in range(6):
        label = ("Jazz", "Rock")[number % 2]
        write_mp3(root / label / f"{number}.mp3", music(3, 44100, 2, seed=number), 44100)
        soundfile.write(root / label / f"{number}.flac", music(3, 22050, 1, seed=10 + number), 22050)
    (root / "Jazz" / "bad.mp3").write_bytes(b"no music")
    (root / "Jazz" / "other.m4a").write_bytes(b"no music")
    rows = ["path,artist,album"]
    rows += [
        f"{path.relative_to(root)},artist {int(path.stem) % 3},album {int(path.stem) // 2}"
        for path in sorted(root.glob("*/?.*"))
    ]
    (root / "metadata.csv").write_text("\n".join([*rows, "Jazz/bad.mp3,artist 0,", "Jazz/gone.mp3,,"]) + "\n")
    return root


def elements(dataset) -> list[tuple[np.ndarray, ...]]:
    return [tuple(map(np.asarray, item if isinstance(item, tuple) else (item,))) for item in dataset]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"class_names": ["c", "a", "b"]},
        # Keras pads whole clips with class indices alone.
        {"label_mode": "categorical", "output_sequence_length": 2000},
        {"label_mode": "binary", "class_names": ["b", "a"], "output_sequence_length": 2000},
        {"labels": None, "output_sequence_length": 2000},
        {"label_mode": None, "output_sequence_length": 2000},
        {"labels": [i % 2 for i in range(11)]},
        {"output_sequence_length": 2000},
        {"output_sequence_length": 1000, "batch_size": None},
        {"batch_size": 11},
    ],
)
def test_the_same_as_keras(wavs: Path, arguments: dict, capsys):
    arguments = {"batch_size": 4, "shuffle": False} | arguments
    theirs = keras.utils.audio_dataset_from_directory(wavs, **arguments)
    printed = capsys.readouterr().out
    ours = audio_dataset_from_directory(wavs, **arguments, keep_channel_axis=True)
    assert capsys.readouterr().out == printed
    assert ours.class_names == theirs.class_names and len(ours) == len(theirs)
    for own, other in zip(elements(ours), elements(theirs), strict=True):
        assert len(own) == len(other)
        for tensor, expected in zip(own, other, strict=True):
            assert tensor.dtype == expected.dtype
            np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_same_division_as_keras(wavs: Path, shuffle: bool, share: float):
    arguments = {"validation_split": share, "shuffle": shuffle, "seed": 5, "batch_size": 11, "verbose": False}
    for subset in ("training", "validation"):
        theirs = keras.utils.audio_dataset_from_directory(wavs, subset=subset, **arguments)
        ours = audio_dataset_from_directory(wavs, subset=subset, **arguments)
        ((_, expected),), ((waveforms, labels),) = elements(theirs), elements(ours)
        assert sorted(labels.tolist()) == sorted(expected.tolist()) and len(ours.file_paths) == len(expected)
        if not shuffle or subset == "validation":
            for waveform, path in zip(waveforms, ours.file_paths, strict=True):
                samples, _ = soundfile.read(path, dtype="float32")
                np.testing.assert_array_equal(waveform[: len(samples)], samples)
    both = audio_dataset_from_directory(wavs, subset="both", **arguments)
    assert not set(both[0].file_paths) & set(both[1].file_paths)
    assert len(both[0].file_paths) + len(both[1].file_paths) == 11


def test_crops_of_music(mixed: Path, capsys):
    training, validation = audio_dataset_from_directory(
        mixed, crop_seconds=1.0, sampling_rate=16000, batch_size=4, seed=1, validation_split=0.4, subset="both",
        group_by="artist", max_failure_rate=0.5,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert (
        "\nLeft out: 1 .m4a file (libsndfile does not read it)" in printed
        and "Found 13 files belonging to 2 classes." in printed
    )
    assert "Note: rows of metadata.csv without a file that is read: 1, 'Jazz/gone.mp3'." in printed
    artists = [
        {int(Path(path).stem) % 3 for path in part.file_paths if "bad" not in path} for part in (training, validation)
    ]
    assert not artists[0] & artists[1]
    first, second = elements(training), elements(training)
    assert {waveform.shape[1] for waveform, _ in first} == {16000}
    assert not np.array_equal(first[0][0], second[0][0])  # another epoch
    for waveforms, labels in elements(validation):
        assert len(waveforms) == len(labels)
    # Validation reads each clip once, as the windows that cover it: three of a second each.
    decodable = [path for path in validation.file_paths if "bad" not in path]
    waveforms = np.concatenate([waveform for waveform, _ in elements(validation)])
    assert len(waveforms) == 3 * len(decodable)
    np.testing.assert_array_equal(waveforms[0], decode_crop(decodable[0], 16000, 16000, 0.0))
    failures = {**training.ledger.failures, **validation.ledger.failures}
    assert [Path(path).name for path in failures] == ["bad.mp3"]


@pytest.mark.parametrize("group_by", ["artist", "album"])
def test_groups_are_divided_so_that_each_class_has_its_share(mixed: Path, group_by: str):
    group = {
        str(mixed / path): artist if group_by == "artist" else album or artist
        for path, artist, album in (line.split(",") for line in (mixed / "metadata.csv").read_text().splitlines())
    }
    for seed in range(4):
        parts = audio_dataset_from_directory(
            mixed, sampling_rate=8000, seed=seed, validation_split=0.34, subset="both", group_by=group_by, verbose=False
        )
        groups = [{group[path] for path in part.file_paths} for part in parts]
        assert not groups[0] & groups[1]
        for label in ("Jazz", "Rock"):
            assert 2 <= sum(Path(path).parent.name == label for path in parts[1].file_paths) <= 3


def test_links_as_keras_follows_them(wavs: Path, tmp_path: Path):
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "0.wav", music(0.1, RATE_HZ), RATE_HZ, subtype="PCM_16")
    (tmp_path / "a" / "more").symlink_to(wavs / "b")
    (tmp_path / "a" / "one.wav").symlink_to(wavs / "a" / "1.wav")
    (tmp_path / "linked").symlink_to(wavs / "c")
    for labels in ("inferred", None):
        for follow in (False, True):
            arguments = {"labels": labels, "follow_links": follow, "shuffle": False, "verbose": False}
            arguments |= {"batch_size": 20, "output_sequence_length": 900}
            ours = audio_dataset_from_directory(tmp_path, **arguments)
            theirs = keras.utils.audio_dataset_from_directory(tmp_path, **arguments)
            assert ours.class_names == theirs.class_names
            for own, other in zip(elements(ours)[0], elements(theirs)[0], strict=True):
                np.testing.assert_array_equal(own.squeeze(), other.squeeze())


def test_a_folder_of_several_rates_wants_one(mixed: Path):
    with pytest.raises(ValueError, match=r"found 22050 Hz \(6 files\), 44100 Hz \(6 files\); give the sampling_rate"):
        audio_dataset_from_directory(mixed, verbose=False)


def test_what_training_takes_more(mixed: Path):
    ledger = FailureLedger(13, 0.5)
    arguments = {"sampling_rate": 8000, "crop_seconds": 0.5, "seed": 1, "batch_size": 1, "shuffle_clips": 4}
    both = audio_dataset_from_directory(
        mixed, **arguments, validation_split=0.3, subset="both", ledger=ledger, verbose=False
    )
    assert both[0].ledger is both[1].ledger is ledger
    dataset = audio_dataset_from_directory(mixed, **arguments, ledger=ledger, verbose=False)
    next(iter(dataset))
    passes = [np.concatenate([waveform for waveform, _ in elements(dataset)]) for _ in range(2)]
    later = audio_dataset_from_directory(mixed, **arguments, ledger=ledger, first_epoch=1, verbose=False)
    np.testing.assert_array_equal(np.concatenate([waveform for waveform, _ in elements(later)]), passes[1])
    assert not np.array_equal(*passes)
    assert [Path(path).name for path in ledger.failures] == ["bad.mp3"]


def test_in_fit(mixed: Path):
    dataset = audio_dataset_from_directory(
        mixed, verbose=False, sampling_rate=8000, crop_seconds=1.0, label_mode="binary", keep_channel_axis=True,
        max_failure_rate=0.1,
    )  # fmt: skip
    model = keras.Sequential([keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy")
    assert len(model.fit(dataset, epochs=2, verbose=0).history["loss"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ragged": True}, "give output_sequence_length or crop_seconds"),
        ({"labels": "none"}, "expected labels as 'inferred'"),
        ({"labels": np.arange(11)}, "expected labels as 'inferred'"),
        ({"labels": [0, 5] * 5 + [0], "label_mode": "categorical"}, "labels from 0 to 1 for 2 classes .* received 0 to 5"),
        ({"labels": [1, 2]}, "expected a label for each of 11 files"),
        ({"label_mode": "string"}, "expected label_mode to be one of 'int'"),
        ({"label_mode": "binary"}, "expected two classes for label_mode='binary', found 3"),
        ({"class_names": ["x"]}, "received others: x"),
        ({"class_names": ["a", "a"]}, "expected each of class_names once"),
        ({"batch_size": 0}, "expected batch_size of at least 1"),
        ({"batch_size": "8"}, "expected batch_size as a whole number, or None, received '8'"),
        ({"crops_per_clip": 2}, "expected crop_seconds with crops_per_clip=2"),
        ({"first_epoch": -1}, "expected first_epoch of at least 0"),
        ({"crop_seconds": -1}, "expected crop_seconds of more than 0"),
        ({"crop_seconds": 1, "output_sequence_length": 5}, "received both"),
        ({"validation_split": 0.2}, "expected validation_split and subset together"),
        ({"validation_split": 2, "subset": "both"}, "expected validation_split between 0 and 1"),
        ({"validation_split": 0.2, "subset": "test"}, "expected subset to be one of training"),
        ({"validation_split": 0.2, "subset": "both"}, "expected a seed, or shuffle=False"),
        ({"validation_split": 0.01, "subset": "validation", "seed": 1}, "expected files for validation"),
        ({"validation_split": 0.3, "subset": "both", "seed": 1, "group_by": "artist"}, "expected a table"),
        ({"group_by": "label"}, "expected group_by to be one of 'artist'"),
        ({"group_by": "artist"}, "expected validation_split and subset with group_by='artist'"),
        ({"sampling_rate": -1}, "expected sampling_rate of at least 1"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(wavs: Path, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        audio_dataset_from_directory(wavs, verbose=False, **arguments)


KERAS_EXAMPLE = """
import keras
from keras.utils import audio_dataset_from_directory
from layers import LogMelSpectrogram

train, validation = audio_dataset_from_directory(
    directory, batch_size=4, validation_split=0.34, seed=0, output_sequence_length=4000, subset="both"
)
model = keras.Sequential([
    LogMelSpectrogram(sample_rate_hz=8000, n_fft=512, hop_length=256, n_mels=16),
    keras.layers.Conv2D(4, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(len(train.class_names), activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(train, epochs=2, verbose=0, validation_data=validation).history
"""


def test_one_import_turns_the_example_of_keras_into_one_on_mp3s(wavs: Path, tmp_path: Path):
    for label in ("Jazz", "Rock"):
        for number in range(6):
            write_mp3(tmp_path / label / f"{number}.mp3", music(1, RATE_HZ, 1, seed=number), RATE_HZ)
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name} {int(path.stem) // 2}" for path in tmp_path.glob("*/*")]
    (tmp_path / "metadata.csv").write_text("\n".join(["path,artist", *rows]))
    ours = KERAS_EXAMPLE.replace("from keras.utils import", "from pipeline import")
    grouped = ours.replace('subset="both"', 'subset="both", group_by="artist"')
    for code, directory in ((KERAS_EXAMPLE, wavs), (ours, wavs), (grouped, tmp_path)):
        names: dict[str, Any] = {"directory": directory}
        exec(code, names)
        assert len(names["history"]["val_accuracy"]) == 2 and np.isfinite(names["history"]["val_loss"]).all()
        assert names["train"].class_names == (["a", "b", "c"] if directory == wavs else ["Jazz", "Rock"])
    artists = [{(Path(path).parent.name, int(Path(path).stem) // 2) for path in names[part].file_paths}
               for part in ("train", "validation")]  # fmt: skip
    assert [len(part) for part in artists] == [4, 2] and not artists[0] & artists[1]


def test_no_folder_and_no_audio(tmp_path: Path):
    with pytest.raises(ValueError, match="expected a folder of audio as directory, found none"):
        audio_dataset_from_directory(tmp_path / "gone")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.m4a").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected audio files in .*1 \.m4a file"):
        audio_dataset_from_directory(tmp_path)
