"""Copies: planted ones are found whatever was done to them, different music is not, and near-quadratic time is not needed."""

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.faults import COPIES, cut, decode, encode, tune, with_title
from support.places import shared

from experiments.audit import clip_analysis, copies
from experiments.audit.clip_analysis import analyse_clip, analyse_clips
from experiments.audit.fingerprints import HOP_SECONDS, fingerprint
from experiments.audit.pairs import find_pairs
from experiments.audit.sound import measure_sound
from pipeline.catalogs.duplicates import find_equal_files

RATE_HZ, SECONDS = 44100, 12.0
# Those that leave least, as the others take time too; the last of all is the same file under another tag.
KINDS = ("128 kbit/s", "64 kbit/s, 1.3 s cut off, -6 dB", "22.05 kHz, 1.3 s cut off", "7 s of it")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("music")
    return [encode(folder / f"{i:02d}.mp3", tune(SECONDS, RATE_HZ, seed=i), RATE_HZ, 192) for i in range(6)]


@pytest.fixture(scope="module")
def planted(music, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """The original of each copy: one of every kind, and the same file under another tag."""
    folder = tmp_path_factory.mktemp("copies")
    made = {}
    for i, (change, kbps) in enumerate(COPIES[kind] for kind in KINDS):
        made[encode(folder / f"copy{i:02d}.mp3", *change(*decode(music[i])), kbps)] = music[i]
    tagged = folder / "tagged.mp3"
    tagged.write_bytes(with_title(music[5].read_bytes(), "another title"))
    return made | {tagged: music[5]}


@pytest.fixture(scope="module")
def analysed(music, planted) -> dict[Path, clip_analysis.ClipAnalysis]:
    return {path: analyse_clip(str(path)) for path in (*music, *planted)}


def pairs_of(paths: list[Path], clips: list[clip_analysis.ClipAnalysis]) -> dict[frozenset[Path], copies.Copy]:
    found = copies.find_copies([(clip.hashes, clip.frames) for clip in clips])
    return {frozenset((paths[copy.first], paths[copy.second])): copy for copy in found}


def test_every_planted_copy_is_found_and_no_other_pair(analysed, planted):
    found = pairs_of(list(analysed), list(analysed.values()))
    assert set(found) == {frozenset(pair) for pair in planted.items()}
    for (copy, original), name in zip(planted.items(), (*KINDS, "tag"), strict=True):
        match = found[frozenset((copy, original))]
        begins = 4.37 if name == "7 s of it" else 1.3 if "cut off" in name else 0  # the originals come first
        assert match.offset_seconds == pytest.approx(-begins, abs=2 * HOP_SECONDS), name


def test_clips_that_share_a_moment_are_no_copies(music, tmp_path: Path):
    """A sample of two seconds that both have, again and again in one of them."""
    first, second = (decode(path)[0] for path in music[:2])
    sample, _ = cut(0, 2)(decode(music[2])[0], RATE_HZ)
    first[: len(sample)] = sample
    for begin in (3, 6, 9):
        second[begin * RATE_HZ :][: len(sample)] = sample
    clips = [fingerprint(audio.mean(axis=1), RATE_HZ) for audio in (first, second)]
    assert copies.find_copies(clips) == []


def test_pairs_are_those_of_comparing_every_clip_with_every_other(monkeypatch: pytest.MonkeyPatch):
    """Against a naive count, where the index is cut in blocks and the pairs are counted in several rounds."""
    rng = np.random.default_rng(3)
    clips = [
        (rng.integers(0, 4000, 400).astype(np.uint32), np.sort(rng.integers(0, 900, 400)).astype(np.uint16))
        for _ in range(12)
    ]
    for i, shift in ((0, 5), (1, 130), (2, 260)):
        kept = rng.random(400) < 0.5
        hashes, frames = clips[i + 6][0].copy(), clips[i + 6][1].astype(int)
        hashes[kept], frames[kept] = clips[i][0][kept], clips[i][1][kept].astype(int) + shift
        order = np.argsort(frames, kind="stable")
        clips[i + 6] = hashes[order], frames[order].astype(np.uint16)
    best = {}
    for a, b in itertools.combinations(range(12), 2):
        equal = np.equal.outer(clips[a][0], clips[b][0]).nonzero()
        offsets = clips[b][1][equal[1]].astype(int) - clips[a][1][equal[0]].astype(int)
        counts = np.bincount(offsets + 2000)
        joined = counts[:-1] + counts[1:]
        if joined.max() >= copies.LEAST_MATCHES:
            best[a, b] = joined.argmax() - 2000
    assert {(0, 6), (1, 7), (2, 8)} <= set(best)
    monkeypatch.setattr(copies, "_BLOCK", 100)
    monkeypatch.setattr(copies, "_MOST_MATCHES", 1000)
    monkeypatch.setattr(copies, "_NEIGHBOURS", 64)
    found = {(copy.first, copy.second): round(copy.offset_seconds / HOP_SECONDS) for copy in copies.find_copies(clips)}
    assert set(found) == {(0, 6), (1, 7), (2, 8)}
    for pair, offset in found.items():
        assert offset in (best[pair], best[pair] + 1)


def test_an_interrupted_analysis_goes_on_and_changed_files_are_analysed_again(
    clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [tmp_path / path.name for path in clips[:6]]
    for copy, path in zip(paths, clips, strict=False):
        copy.write_bytes(path.read_bytes())
    analysed = []
    monkeypatch.setattr(clip_analysis, "analyse_clip", lambda path: analysed.append(path) or analyse_clip(path))

    def stopping(items, total):
        yield from itertools.islice(items, 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse_clips(map(str, paths), tmp_path / "out", stopping)
    with open(tmp_path / "out" / "clips.csv", "a") as file:
        file.write(f"{paths[4]},12")  # half a line, and half a landmark, as a kill leaves them
    with open(tmp_path / "out" / "fingerprints.bin", "ab") as file:
        file.write(b"123")
    analysed.clear()
    results = analyse_clips(map(str, paths), tmp_path / "out")
    assert analysed == [str(path) for path in paths[3:]]
    paths[2].write_bytes(b"no audio any more")
    analysed.clear()
    for _ in range(2):  # what could not be decoded is tried again
        analysed.clear()
        again = analyse_clips(map(str, paths), tmp_path / "out")
        assert analysed == [str(paths[2])] and again[2].reason == "not recognised as audio"
    for clip, path, first in zip(again, paths, results, strict=True):
        if path != paths[2]:
            expected = analyse_clip(str(path))
            assert clip.measures == first.measures == expected.measures
            np.testing.assert_array_equal(clip.hashes, expected.hashes)
            np.testing.assert_array_equal(clip.frames, expected.frames)
    contents, other = paths[5].read_bytes(), paths[4].read_bytes()
    status = paths[5].stat()
    changed = (other * 9)[: len(contents)]  # another clip of the same size
    assert changed != contents
    paths[5].write_bytes(changed)
    os.utime(paths[5], ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    analysed.clear()
    analyse_clips(map(str, paths), tmp_path / "out")
    assert analysed == [str(paths[2]), str(paths[5])]


@pytest.mark.parametrize("damage", ["open quote", "no number", "field without end", "landmarks lost", "older columns"])
def test_a_damaged_table_is_used_up_to_its_damage(damage, clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [str(path) for path in clips[:3]]
    first = analyse_clips(paths, tmp_path)
    table, binary = tmp_path / "clips.csv", tmp_path / "fingerprints.bin"
    lines = table.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    if damage == "open quote":
        lines[3] = b'"' + lines[3][:20]
    elif damage == "no number":
        lines[2] = lines[2].replace(b",2,", b",two,")
    elif damage == "field without end":
        lines[2] = b'"' + b"x" * 200_000 + b"\r\n"
    elif damage == "landmarks lost":
        binary.write_bytes(binary.read_bytes()[: 6 * (len(first[0].hashes) + 1)])
    else:
        lines[0] = lines[0].replace(b"file_version,", b"")
    table.write_bytes(b"".join(lines))
    analysed: list[str] = []
    monkeypatch.setattr(clip_analysis, "analyse_clip", lambda path: analysed.append(path) or analyse_clip(path))
    left = {"open quote": 2, "older columns": 0}.get(damage, 1)
    for expected in (paths[left:], []):  # and what is appended can be read the next time
        analysed.clear()
        again = analyse_clips(paths, tmp_path)
        assert analysed == expected
        for clip, before in zip(again, first, strict=True):
            assert clip.measures == before.measures and clip.file_version == before.file_version
            np.testing.assert_array_equal(clip.hashes, before.hashes)
            np.testing.assert_array_equal(clip.frames, before.frames)
    assert (tmp_path / "clips.csv.old").is_file() == (damage == "older columns")


def test_fingerprints_are_the_same_whatever_precision_numpy_takes(monkeypatch: pytest.MonkeyPatch):
    """NumPy 1 takes the transform of float32 in double precision, NumPy 2 in single."""
    rfft, seen = np.fft.rfft, []
    monkeypatch.setattr(np.fft, "rfft", lambda x, **more: seen.append(x.dtype) or rfft(x, **more))
    fingerprint(tune(3.0, RATE_HZ, seed=0)[:, 0], RATE_HZ)
    measures = measure_sound(tune(3.0, RATE_HZ, seed=0).astype(np.float32), RATE_HZ, 3.0)
    assert measures.seconds == pytest.approx(3, abs=0.1) and set(seen) == {np.dtype(np.float64)}


def test_the_clip_of_a_pair_is_the_one_to_leave_out(analysed, planted, music, tmp_path: Path):
    """That in training; in one split the poorer file. Leaks and other labels are named beside."""
    at_128, shorter, *_ = map(str, planted)
    same = tmp_path / "same.mp3"
    same.write_bytes(music[4].read_bytes())
    rows = [
        *((path, "Rock", "training", "A", f"title {i}") for i, path in enumerate(music)),
        (at_128, "Rock", "test", "", ""),
        (shorter, "Jazz", "training", "", ""),
        (same, "Rock", "validation", "a ", "Title  5"),
    ]
    tracks = pd.DataFrame(rows, columns=["path", "label", "split", "artist", "title"]).astype({"path": str})
    tracks["track_id"] = range(len(tracks))
    results = [analysed.get(Path(path)) or analyse_clip(path) for path in tracks["path"]]
    found = {(f.finding, f.clip, f.partner) for f in find_pairs(tracks, results)}
    first, second, fifth, sixth = (str(music[i]) for i in (0, 1, 4, 5))
    assert found == {
        ("copy", first, at_128),
        ("leak", first, at_128),
        ("copy", shorter, second),
        ("other_label", shorter, second),
        ("equal_bytes", fifth, str(same)),
        ("leak", fifth, str(same)),
        ("same_title", sixth, str(same)),
        ("leak", sixth, str(same)),
    }


def test_equal_files_are_found_by_their_bytes(tmp_path: Path):
    contents = {"a": b"1" * 9000, "b": b"1" * 9000, "c": b"1" * 8999 + b"2", "d": b"", "e": b"", "f": b"x"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in (*contents, "none")]
    assert find_equal_files(paths) == [paths[:2]]


@pytest.mark.slow
def test_planted_copies_of_real_music_are_found(tmp_path: Path):
    """24 copies of every kind among every second clip; experiments/README.md counts them among all."""
    real = sorted(shared("real_music").glob("fma_small/*/*.mp3"))[::2]
    chosen = np.random.default_rng(0).permutation(len(real))[:24]
    kinds = itertools.cycle([*COPIES.values(), None])
    truth = {}
    for i, kind in zip(chosen, kinds, strict=False):
        copy = tmp_path / f"{real[i].name}"
        if kind is None:
            copy.write_bytes(with_title(real[i].read_bytes(), "another title"))
        else:
            encode(copy, *kind[0](*decode(real[i])), kind[1])
        truth[frozenset((copy, real[i]))] = i
    paths = [*real, *tmp_path.glob("*.mp3")]
    clips = analyse_clips(map(str, paths), tmp_path / "out")
    found = set(pairs_of(paths, clips))
    assert len(found & set(truth)) >= 23 and len(found - set(truth)) <= 1
