"""Record shards: the same catalog and the same examples as from the files, and every way in which shards can be bad."""

import base64
import dataclasses
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from support.audio import music, without_length_tag, write_mp3
from support.tensorflow_io import DECODER_PARAMS, HAS_TENSORFLOW_IO, needs_tensorflow_io

from experiments.builders.data import load_catalog, prepare
from experiments.reporting.addresses import embedded_url
from experiments.runs.run import Run
from experiments.settings import Settings
from pipeline.catalogs import pack
from pipeline.catalogs.catalog import Catalog, CatalogError, make_catalog, missing_files
from pipeline.catalogs.pack import PackError, pack_records, verify_records
from pipeline.catalogs.probe import probe_file
from pipeline.catalogs.records import MANIFEST_FILE, load_records
from pipeline.dataset import eval_dataset, train_dataset
from pipeline.decoding import sound_files, tfio_decoder
from pipeline.decoding.soundfile_decoder import DecodeError, decode_crop
from pipeline.failures import FailureBudgetError, FailureLedger
from pipeline.storage import clips as clip_bytes
from pipeline.storage.clips import RecordSpan, find_record_span, open_clip, read_clip

pytestmark = pytest.mark.slow

RATE_HZ = 8000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Clips of every kind: constant and variable rate, no length tag, junk in front, FLAC, WAV; and bad ones."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for i in range(4):
        rate_hz = (44100, 48000, 22050, 16000)[i]
        audio = music(2 + i % 2, rate_hz, channels=1 + i % 2, seed=i)
        paths.append(write_mp3(folder / f"{i} constant.mp3", audio, rate_hz))
        paths.append(write_mp3(folder / f"{i}#1+2+3:variable.mp3", audio, rate_hz, variable=True))
    (folder / "untagged.mp3").write_bytes(without_length_tag(paths[1].read_bytes()))
    (folder / "junk.mp3").write_bytes(bytes(3000) + paths[0].read_bytes())  # an MP3 by its name alone
    for suffix in (".flac", ".wav"):
        soundfile.write(folder / f"a{suffix}", music(2.5, 44100, channels=2, seed=9), 44100)
    (folder / "empty.mp3").touch()
    (folder / "noise.mp3").write_bytes(np.random.default_rng(0).bytes(20000))
    (folder / "cut.mp3").write_bytes(paths[2].read_bytes()[:9000])
    paths += [folder / name for name in ("untagged.mp3", "junk.mp3", "a.flac", "a.wav")]
    paths += [folder / name for name in ("empty.mp3", "noise.mp3", "cut.mp3", "gone \udcff\n.mp3")]
    tracks = pd.DataFrame({"path": [str(path) for path in paths], "track_id": range(100, 100 + len(paths))})
    tracks["label"] = ["b" if i % 2 else "a" for i in range(len(paths))]
    tracks["split"] = ["training", "validation", "test", "training"] * (len(paths) // 4)
    tracks["title"] = 'Ünïcode \udc80, "quoted"\n'
    return make_catalog(tracks, (), ("a note",))


@pytest.fixture(scope="module")
def records(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "packed"
    pack_all(catalog, folder)
    return folder


def pack_all(catalog: Catalog, folder: Path | str, num_shards: int = 3) -> FailureLedger:
    ledger = FailureLedger(len(catalog.tracks), 0.5)
    pack_records(catalog, str(folder), num_shards, {"data_dir": "there"}, ledger)
    return ledger


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def by_ops():
    """The tfio decoder's graph, traced once: a path to (crop in the middle, error, number of crops of a second), or None."""
    if not HAS_TENSORFLOW_IO:
        return None

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode_by_ops(path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return *tfio_decoder.decode_crop(path, RATE_HZ, RATE_HZ, tf.constant(0.5)), tfio_decoder.count_windows(
            path, 1.0
        )

    return lambda path: [tensor.numpy() for tensor in decode_by_ops(os.fsencode(path))]


def copy(records: Path, tmp_path: Path) -> Path:
    return shutil.copytree(records, tmp_path / "copy")


def test_the_catalog_is_the_same_in_all_but_the_paths(catalog, records):
    loaded = load_records(str(records))
    pd.testing.assert_frame_equal(loaded.tracks.drop(columns="path"), catalog.tracks.drop(columns="path"))
    assert (loaded.labels, loaded.notes) == (catalog.labels, catalog.notes)
    places = [find_record_span(path) for path in loaded.tracks["path"]]
    assert [place.original for place in places] == catalog.tracks["path"].tolist()
    assert missing_files(loaded.tracks).tolist() == missing_files(catalog.tracks).tolist()
    assert load_records(str(records), ["B"]).labels == ("b",)


def test_a_clip_s_bytes_are_its_file_s(catalog, records):
    for path, place in zip(catalog.tracks["path"][:-1], load_records(str(records)).tracks["path"][:-1], strict=True):
        data = Path(path).read_bytes()
        assert read_clip(place) == data and clip_bytes.clip_size(place) == len(data)
        with open_clip(place) as file:
            file.seek(-10, 2)
            assert file.tell() == len(data) - 10 if data else file.tell() == 0
            assert file.read(99) == data[-10:] and file.read() == b""


@pytest.mark.parametrize("decoder", DECODER_PARAMS)
def test_examples_are_identical(catalog, records, decoder):
    """Bit for bit, and the same failures for the same reasons."""
    options = {"sample_rate_hz": RATE_HZ, "crop_seconds": 1.0, "batch_size": 5, "decoder": decoder}
    labels = range(len(catalog.tracks))

    def examples(paths: list[str]) -> tuple[list[np.ndarray], list[tuple[str, int]]]:
        ledger = FailureLedger(len(paths), 1.0)
        shuffle = {"epoch": 1, "seed": 3, "crops_per_clip": 2, "shuffle_clips": 0 if decoder == "tfio" else 6}
        datasets = [train_dataset(paths, labels, ledger, **shuffle, **options)]
        if decoder != "tfio":  # a graph of tfio's takes seconds to build; what evaluation adds is tested below
            datasets.append(eval_dataset(paths, ledger, **options))
        arrays = [tensor.numpy() for dataset in datasets for batch in dataset for tensor in batch]
        failures = {
            place.original if (place := find_record_span(path)) else path: (failure.reason, failure.occurrences)
            for path, failure in ledger.failures.items()
        }
        return arrays, sorted(failures.items())

    files, failed_files = examples(catalog.tracks["path"].tolist())
    packed, failed_packed = examples(load_records(str(records)).tracks["path"].tolist())
    assert len(files) == len(packed) and sum(len(array) for array in files[::2]) >= 20
    for array, other in zip(files, packed, strict=True):
        np.testing.assert_array_equal(other, array)
    assert failed_packed == failed_files and len(failed_files) == (6 if decoder == "tfio" else 4)


@needs_tensorflow_io
def test_the_graph_decodes_and_counts_the_same(catalog, records, by_ops):
    for path, place in zip(catalog.tracks["path"], load_records(str(records)).tracks["path"], strict=True):
        for packed, file in zip(by_ops(place), by_ops(path), strict=True):
            np.testing.assert_array_equal(packed, file)


def test_whole_clips_and_long_ones_are_identical(catalog, records, monkeypatch):
    paths, places = catalog.tracks["path"], load_records(str(records)).tracks["path"]
    for path, place in zip(paths[:12], places[:12], strict=True):
        whole = decode_crop(path, RATE_HZ, 0)
        np.testing.assert_array_equal(decode_crop(place, RATE_HZ, 0), whole)
        assert dataclasses.replace(probe_file(place), path="") == dataclasses.replace(probe_file(path), path="")
    # A clip too long for memory is read where it is needed; one that goes by its name, all the same.
    monkeypatch.setattr(sound_files, "_MAX_IN_MEMORY_BYTES", 100)
    for i in (1, 8, 9, 10, 11):
        crop = decode_crop(paths[i], RATE_HZ, RATE_HZ, 0.7)
        np.testing.assert_array_equal(decode_crop(places[i], RATE_HZ, RATE_HZ, 0.7), crop)


def test_a_crop_of_constant_bit_rate_reads_its_own_bytes(tmp_path: Path, monkeypatch):
    write_mp3(tmp_path / "long.mp3", music(60, 16000), 16000)
    tracks = pd.DataFrame({"path": [str(tmp_path / "long.mp3")], "track_id": [1], "label": ["a"], "split": ["test"]})
    pack_all(make_catalog(tracks, ()), tmp_path / "packed", 1)
    place = load_records(str(tmp_path / "packed")).tracks["path"][0]
    decode_crop(place, 16000, 16000, 0.2)  # describes the file
    read = []
    original = clip_bytes.ClipFile.read

    def spy(self, size=-1):
        data = original(self, size)
        read.append(len(data))
        return data

    monkeypatch.setattr(clip_bytes.ClipFile, "read", spy)
    decode_crop(place, 16000, 16000, 0.8)
    assert 0 < sum(read) < 0.1 * clip_bytes.clip_size(place)


def test_any_program_can_read_the_shards(catalog, records):
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("path", "label", "title", "audio")}
    features["track_id"] = tf.io.FixedLenFeature([], tf.int64)
    shards = sorted(map(str, records.glob("*.tfrecord")))
    examples = [tf.io.parse_single_example(record, features) for record in tf.data.TFRecordDataset(shards)]
    packed = catalog.tracks.iloc[:-1]
    assert [int(example["track_id"]) for example in examples] == packed["track_id"].tolist()
    for example, path in zip(examples, packed["path"], strict=True):
        assert example["audio"].numpy() == Path(path).read_bytes() and example["path"].numpy() == path.encode()


def test_what_is_finished_is_kept_and_what_changed_is_packed_again(catalog, records, tmp_path: Path, monkeypatch):
    folder = copy(records, tmp_path)
    packed = contents(folder)
    written = []
    original = pack._Packing._write
    monkeypatch.setattr(
        pack._Packing, "_write", lambda self, name, tracks: written.append(name) or original(self, name, tracks)
    )
    pack_all(catalog, folder)
    assert not written and contents(folder) == packed
    # Killed between the second shard's name and the manifest's; and the third's was cut by a copy.
    manifest = json.loads(packed[MANIFEST_FILE])
    manifest["shards"][1] = None
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    third = folder / manifest["shards"][2]["file"]
    third.write_bytes(third.read_bytes()[:-1])
    with pytest.raises(CatalogError, match="found 2 of 3 shards; run the same pack_records command again"):
        load_records(str(folder))
    ledger = pack_all(catalog, folder)
    assert [name[:13] for name in written] == ["records-00001", "records-00002"]
    assert contents(folder) == packed, "the same files give the same bytes"
    assert [failure.reason for failure in ledger.failures.values()] == ["file not found"]


def test_a_repaired_file_is_packed(catalog, tmp_path: Path):
    here = catalog.tracks.iloc[:2].assign(path=[catalog.tracks["path"][0], str(tmp_path / "late.mp3")])
    catalog = dataclasses.replace(catalog, tracks=here)
    assert list(pack_all(catalog, tmp_path / "packed", 1).failures) == [str(tmp_path / "late.mp3")]
    shutil.copy(catalog.tracks["path"][0], tmp_path / "late.mp3")
    assert not pack_all(catalog, tmp_path / "packed", 1).failures
    assert not missing_files(load_records(str(tmp_path / "packed")).tracks).any()


def test_other_data_are_refused_with_the_differences(catalog, records):
    before = contents(records)
    with pytest.raises(CatalogError, match="shards: 3 there, 4 now"):
        pack_all(catalog, records, 4)
    fewer = dataclasses.replace(catalog, tracks=catalog.tracks.iloc[:-1])
    with pytest.raises(CatalogError, match=r"clips: {'training': 8.* there, {'training': 7"):
        pack_all(fewer, records)
    turned = dataclasses.replace(catalog, tracks=catalog.tracks.iloc[::-1])
    with pytest.raises(CatalogError, match=r"other tracks, .* or in another order"):
        pack_all(turned, records)
    for num_shards in (0, 99):
        with pytest.raises(CatalogError, match=rf"num_shards from 1 to 16 .* received {num_shards}"):
            pack_all(catalog, records, num_shards)
    assert contents(records) == before


@pytest.mark.parametrize("what", ["shard", "index", "rename"])
def test_a_full_disk_harms_nothing(catalog, tmp_path: Path, monkeypatch, what):
    full = OSError(errno.ENOSPC, "No space left on device")
    half = dataclasses.replace(catalog, tracks=catalog.tracks.iloc[:4])
    with monkeypatch.context() as patch:
        if what == "shard":  # as TensorFlow says it
            writes = iter([True, True, True, False])

            class Writer(tf.io.TFRecordWriter):
                def write(self, record):
                    if not next(writes):
                        raise tf.errors.ResourceExhaustedError(None, None, "x.tfrecord; No space left on device")
                    super().write(record)

            patch.setattr(tf.io, "TFRecordWriter", Writer)
        elif what == "index":
            original = pack.write_file

            def write_file(path, data):
                if path.endswith("00001-of-00002.json"):
                    raise full
                original(path, data)

            patch.setattr(pack, "write_file", write_file)
        else:  # the file system took every write, but not all of it is there
            patch.setattr(pack, "hash_file", lambda path: (7, hashlib.sha256(b"").hexdigest()))
        with pytest.raises(
            PackError, match=r"expected to write .*but: .*(No space left|found 7 bytes).* of 2 shards that"
        ):
            pack_all(half, tmp_path / "packed", 2)
    names = [path.name for path in (tmp_path / "packed").iterdir()]
    assert not [name for name in names if ".partial" in name]
    finished = [shard for shard in json.loads((tmp_path / "packed" / MANIFEST_FILE).read_text())["shards"] if shard]
    assert len(finished) == (0 if what == "rename" else 1)
    for shard in finished:
        assert hashlib.sha256((tmp_path / "packed" / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    pack_all(half, tmp_path / "packed", 2)  # the message's own remedy
    assert not verify_records(str(tmp_path / "packed"))


def test_too_many_unreadable_files_stop_the_packing(catalog, tmp_path: Path):
    with pytest.raises(FailureBudgetError, match="file not found"):
        pack_records(catalog, str(tmp_path), 1, {}, FailureLedger(len(catalog.tracks), 0.01))


def test_damage_is_named(catalog, records, by_ops, tmp_path: Path):
    folder = copy(records, tmp_path)
    assert not verify_records(str(folder))
    places = [find_record_span(path) for path in load_records(str(folder)).tracks["path"]]
    shard = Path(places[2].shard)
    whole = shard.read_bytes()
    flipped = bytearray(whole)
    flipped[places[2].record + places[2].skip + places[2].length // 2] ^= 0xFF
    shard.write_bytes(flipped)
    (problem,) = verify_records(str(folder))
    assert str(shard) in problem and problem.endswith(f"damaged clips: {places[2].original}")
    # The reader of TensorFlow sees it, and no neighbour suffers.
    for place, damaged in ((places[2], True), (places[3], False)) if by_ops else ():
        waveform, error, _ = by_ops(str(place))
        assert (error != b"") == damaged and (np.abs(waveform).max() == 0) == damaged

    shard.write_bytes(whole[:-1000])
    for check in (load_records, lambda folder: [CatalogError(text) for text in verify_records(folder)]):
        try:
            (error,) = check(str(folder))
        except CatalogError as raised:
            error = raised
        assert f"{len(whole)} bytes in {shard}, found {len(whole) - 1000}" in str(error)
    shard.unlink()
    with pytest.raises(CatalogError, match=f"expected the shard {shard}"):
        load_records(str(folder))
    shard.write_bytes(whole)
    index = shard.with_suffix(".json")
    index.write_text(index.read_text().replace("100", "200"))
    with pytest.raises(CatalogError, match=f"expected {index} as it was packed"):
        load_records(str(folder))


def test_a_shard_that_is_cut_or_goes_during_an_epoch_is_in_the_ledger(records, by_ops, tmp_path: Path):
    folder = copy(records, tmp_path)
    paths = load_records(str(folder)).tracks["path"].tolist()[:8]
    first, second = (Path(find_record_span(paths[i]).shard) for i in (0, 7))
    cut = find_record_span(paths[3])
    ledger = FailureLedger(len(paths), 1.0)
    dataset = eval_dataset(paths, ledger, sample_rate_hz=RATE_HZ, crop_seconds=1, batch_size=1)
    with first.open("r+b") as file:
        file.truncate(cut.record + 100)
    second.unlink()
    seen = {int(row) for _, (row,) in dataset}
    assert seen == {0, 1, 2}
    assert list(ledger.failures) == sorted(paths[3:])
    assert all(("tfrecord#" in path) and failure.reason for path, failure in ledger.failures.items())
    assert f"{first} ends after {cut.record + 100} bytes" in ledger.failures[paths[3]].reason
    assert ledger.failures[paths[7]].reason == "file not found"
    if by_ops:
        assert [by_ops(path)[1] != b"" for path in paths] == [False] * 3 + [True] * 5


def test_remote_directories(catalog, by_ops):
    """TensorFlow's file system in memory stands for gs:// and others."""
    pack_all(catalog, "ram://bucket/records")
    tracks = load_records("ram://bucket/records").tracks
    assert missing_files(tracks).tolist() == missing_files(catalog.tracks).tolist()
    for i in (0, 1, 9, 10):
        np.testing.assert_array_equal(
            decode_crop(tracks["path"][i], RATE_HZ, RATE_HZ, 0.3),
            decode_crop(catalog.tracks["path"][i], RATE_HZ, RATE_HZ, 0.3),
        )
    if by_ops:
        np.testing.assert_array_equal(by_ops(tracks["path"][0])[0], by_ops(catalog.tracks["path"][0])[0])
    assert not verify_records("ram://bucket/records")
    with pytest.raises(CatalogError, match=r"expected records .* in ram://bucket/other, found none"):
        load_records("ram://bucket/other")
    tf.io.gfile.remove(find_record_span(tracks["path"][0]).shard)
    with pytest.raises(DecodeError, match="file not found"):
        decode_crop(tracks["path"][1], RATE_HZ, RATE_HZ, 0.9)
    (problem,) = verify_records("ram://bucket/records")
    assert "records-00000-of-00003.tfrecord, but it cannot be read" in problem


def test_a_run_goes_on_from_records_of_its_files(small_fma, tmp_path: Path):
    files = Settings(dataset="fma", data_dir=str(small_fma), genres=("Rock", "Hip-Hop"), max_failure_rate=0.1)
    catalog, ledger = prepare(files)
    pack_records(catalog, str(tmp_path / "packed"), 2, {}, ledger)
    packed = dataclasses.replace(files, dataset="records", data_dir=str(tmp_path / "packed"), genres=())
    Run(tmp_path / "run").begin(files, catalog)
    Run(tmp_path / "run").check(packed, load_catalog(packed))
    other = dataclasses.replace(packed, genres=("Rock",))
    with pytest.raises(ValueError, match=r"clips: .* there"):
        Run(tmp_path / "run").check(other, load_catalog(other))
    with pytest.raises(ValueError, match="n_mels: 128 there, 64 now"):
        Run(tmp_path / "run").check(dataclasses.replace(packed, n_mels=64), load_catalog(packed))


def test_a_path_is_a_place_or_a_file():
    place = RecordSpan("a dir/r.tfrecord", 1, 20, 300, "/x/#4+5+6:y.tfrecord#1+2+3:\n.mp3")
    assert find_record_span(str(place)) == place
    for path in ("/x/a.mp3", "/x/a.tfrecord", "/x/a.tfrecord#1+2:b.mp3", "/x/a.tfrecord#1+2+-3:b.mp3"):
        assert find_record_span(path) is None
        assert not tf.strings.regex_full_match(path, clip_bytes.RECORD_SPAN_PATTERN)
    assert tf.strings.regex_full_match(str(place), clip_bytes.RECORD_SPAN_PATTERN)


def test_a_report_embeds_what_no_page_can_point_at(records):
    path = load_records(str(records)).tracks["path"][0]
    kind, data = embedded_url(path).split(",", 1)
    assert kind == "data:audio/mpeg;base64" and base64.b64decode(data) == read_clip(path)
