"""The walk over a folder: what it finds and what it leaves out, together, are what is on the disk."""

import os
from pathlib import Path

import pytest

from pipeline.storage import audio_files
from pipeline.storage.audio_files import find_audio
from pipeline.storage.left_out import Kind, LeftOut, describe_left_out


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def reasons(root: Path) -> dict[str, str]:
    return {os.path.relpath(item.path, root): item.reason for item in find_audio(root).left_out}


def on_disk(root: Path) -> set[str]:
    return {os.path.relpath(f"{folder}/{name}", root) for folder, _, names in os.walk(root) for name in names}


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for name in (
        *("a/1.mp3", "a/2.MP3", "a/b/3.Flac", "a/odd.mp3/4.ogg", "a/cover.jpg", "a/none", "a/5.m4a", "6.wav", "a/x.mp3.part"),
        *(".git/objects/7.mp3", "a/.hidden/deep/er/8.mp3", "a/._1.mp3", "__MACOSX/a/1.mp3", "a/@eaDir/1.mp3/t.jpg"),
        *(".Trash-1000/9.mp3", "$RECYCLE.BIN/9.mp3", "lost+found/9.mp3", "a/" + "n" * 250 + ".mp3", "a/new\nline, \"q\".mp3"),
    ):  # fmt: skip
        touch(root / name)
    Path(os.fsdecode(os.fsencode(root) + b"/a/caf\xe9.mp3")).touch()
    os.mkfifo(root / "a" / "pipe.mp3")
    return root


def test_every_file_on_disk_is_found_or_left_out(messy: Path):
    found = find_audio(messy)
    left_out = {os.path.relpath(item.path, messy) for item in found.left_out if not item.is_folder}
    assert on_disk(messy) == set(found.files) | left_out and not set(found.files) & left_out
    assert {os.fsencode(file) for file in found.files} == {
        *(b"6.wav", b"a/1.mp3", b"a/2.MP3", b"a/b/3.Flac", b"a/odd.mp3/4.ogg", b"a/caf\xe9.mp3"),
        *(b"a/" + b"n" * 250 + b".mp3", b'a/new\nline, "q".mp3'),
    }
    assert list(found.files) == sorted(found.files, key=lambda file: Path(file).parts)
    assert all(item.reason for item in found.left_out)
    assert "2 files" not in (note := describe_left_out(found.left_out)) and note.isprintable()
    assert "1 .m4a file (libsndfile does not read it)" in note and "8 hidden files" in note


def test_links_are_followed_and_each_file_counts_once(tmp_path: Path):
    root, outside = tmp_path / "music", tmp_path / "outside"
    for name in ("a/1.mp3", "z/2.mp3"):
        touch(root / name)
    for name in ("album/3.mp3", "album/cd2/4.mp3", "single.mp3", ".hidden/5.mp3"):
        touch(outside / name)
    (root / "a" / "album").symlink_to(outside / "album")
    (root / "z" / "cd2").symlink_to(outside / "album" / "cd2")  # in the album, which comes first
    (root / "a" / "single.mp3").symlink_to(outside / "single.mp3")
    (root / "z" / "again.mp3").symlink_to("../a/single.mp3")
    (root / "a" / "0.mp3").symlink_to("../z/2.mp3")  # before 2.mp3 in order, but a link
    (root / "a" / "parent").symlink_to("..")
    (root / "a" / "grandparent").symlink_to(tmp_path)
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "gone.mp3").symlink_to("gone.mp3")
    (outside / "album" / "back").symlink_to(root / "z")
    found = find_audio(root)
    assert list(found.files) == ["a/1.mp3", "a/album/3.mp3", "a/album/cd2/4.mp3", "a/single.mp3", "z/2.mp3"]
    real = [os.path.realpath(root / file) for file in found.files]
    assert len(set(real)) == len(real)
    assert reasons(root) == {
        "a/0.mp3": f"the same file as {root}/z/2.mp3",
        "a/album/back": f"the same folder as {root}/z",
        "a/gone.mp3": "a link that leads nowhere",
        "a/grandparent": "a link to a folder that holds the one which is searched",
        "a/parent": f"the same folder as {root}/",
        "a/self": "a link that leads nowhere",
        "z/again.mp3": f"the same file as {root}/a/single.mp3",
        "z/cd2": f"the same folder as {root}/a/album/cd2",
    }
    (tmp_path / "link").symlink_to(root)  # and the root itself may be one
    assert find_audio(tmp_path / "link").files == found.files


def test_folders_that_cannot_be_read_or_entered_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("a/1.mp3", "locked/2.mp3", "names/3.mp3", "names/deep/4.mp3"):
        touch(tmp_path / name)
    scandir, access = os.scandir, os.access  # for root may read everything

    def refuse(path: str):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(audio_files.os, "scandir", refuse)
    monkeypatch.setattr(audio_files.os, "access", lambda path, mode: "names" not in str(path) and access(path, mode))
    found = find_audio(tmp_path)
    assert found.files == ("a/1.mp3",) and found.folders == ("", "a")
    assert reasons(tmp_path) == {
        "locked": "folder not readable: Permission denied",
        "names": "folder not readable: its files may not be opened",
        "names/3.mp3": "in a folder that may not be entered",
        "names/deep": "in a folder that may not be entered",
    }
    assert describe_left_out(found.left_out) == "left out: 2 folders not readable"
    with pytest.raises(PermissionError):
        find_audio(tmp_path / "locked")


def test_paths_below_the_working_directory_are_as_pathlib_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "a" / "cover.jpg")
    monkeypatch.chdir(tmp_path)
    assert [item.path for item in find_audio(".").left_out] == ["a/cover.jpg"]
    assert [item.path for item in find_audio("./a/").left_out] == ["a/cover.jpg"]


def test_the_note_counts_by_kind_and_its_numbers_add_up():
    items = [LeftOut(f"{i}.{ending}", "", Kind.SOUND) for ending in ("m4a", "WMA", "m4a") for i in range(2)]
    items += [LeftOut(f"x.{i}", "", Kind.OTHER) for i in range(7)] + [LeftOut("README", "", Kind.OTHER)]
    items += [LeftOut("x.\x1b[31m", "", Kind.OTHER), LeftOut("Jazz/", "", Kind.LABEL), LeftOut("noted.mp3", "")]
    assert describe_left_out(items) == (
        "left out: 4 .m4a files, 2 .wma files (libsndfile does not read them), 1 label without audio ('Jazz'), 9 other files "
        "(1 .0, 1 .1, 1 .2, 1 .3, 1 .4, 4 of other endings)"
    )
    assert describe_left_out([]) == describe_left_out(items[-1:]) == ""
