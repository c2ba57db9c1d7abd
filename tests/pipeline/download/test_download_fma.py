"""From a server with FMA's archives to a folder that --dataset=fma reads, through a kill and through damage."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.archives import pack
from support.collections_on_disk import write_tables
from support.file_server import FileServer, serving
from support.places import ROOT
from support.scripts import run_script

from pipeline.catalogs.fma import SUBSETS, load_fma
from pipeline.decoding.soundfile_decoder import decode_crop
from pipeline.download.archives import ArchiveError
from pipeline.download.fma import AUDIO, METADATA, FmaArchive, Step, carry_out, choose_archives, plan
from pipeline.download.http_client import DownloadError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(clips, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fma_metadata.zip, fma_small.zip and their sha1sums."""
    folder = tmp_path_factory.mktemp("published")
    tables = write_tables(folder / "tables") / "fma_metadata"
    pack(folder / "fma_metadata.zip", {path.name: path.read_bytes() for path in tables.iterdir()})
    pack(folder / "fma_small.zip", {f"000/{i:06d}.mp3": clips[i].read_bytes() for i in (2, 5)})
    lines = [f"{hashlib.sha1(path.read_bytes()).hexdigest()}  {path.name}\n" for path in folder.glob("*.zip")]
    (folder / "sha1sums").write_text("".join(lines))
    return folder


@pytest.fixture
def server(published: Path):
    with serving({path.name: path.read_bytes() for path in published.glob("*.zip")}) as server:
        yield server


@pytest.fixture
def archives(published: Path) -> tuple[FmaArchive, ...]:
    return choose_archives("small", published / "sha1sums")


def fetch(
    archives: tuple[FmaArchive, ...], data_dir: Path, server: FileServer, **options
) -> tuple[list[Step], list[str]]:
    every_byte = options.pop("every_byte", False)
    steps, said = plan(archives, data_dir, server.url, every_byte), []
    for step in steps:
        carry_out(step, server.url, say=said.append, **options)
    return steps, said


def test_the_command_goes_on_after_a_kill_and_does_nothing_twice(published: Path, server: FileServer, tmp_path: Path):
    data_dir = tmp_path / "fma"
    flags = [f"--data_dir={data_dir}", f"--base_url={server.url}", f"--sha1sums={published / 'sha1sums'}"]
    command = [sys.executable, "-m", "experiments.download_fma", *flags]
    server.faults = ["", "stall"]  # the metadata, half of the audio
    with subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            while not server.stalling.wait(0.05):
                assert process.poll() is None
            second = run_script("download_fma", *flags, check=False)
            assert "expected to be alone in" in second.stderr
            part = data_dir / "fma_small.zip.part"
            while part.stat().st_size < len(server.files["fma_small.zip"]) // 2:
                assert process.poll() is None
        finally:
            process.kill()
    server.requests.clear()
    result = run_script("download_fma", *flags)
    assert (
        "fma_metadata: nothing to do" in result.stdout
        and "fma_small: files written: 3, kept: 0" in result.stdout
        and result.stderr == ""
    )
    half = len(server.files["fma_small.zip"]) // 2
    assert server.requests == [("HEAD", "fma_small.zip", None), ("GET", "fma_small.zip", f"bytes={half}-")]
    server.requests.clear()
    result = run_script("download_fma", *flags)
    assert result.stdout.count("nothing to do, every file has the size that it had when it was verified") == 2
    assert server.requests == []
    catalog = load_fma(data_dir)
    assert sorted(catalog.tracks["track_id"]) == [2, 5] and catalog.labels == ("Hip-Hop", "Rock")
    assert all(decode_crop(path, 22050, 0, 22050).any() for path in catalog.tracks["path"])


def test_archives_go_or_stay(archives, server: FileServer, tmp_path: Path):
    fetch(archives, tmp_path, server)
    assert len(list(tmp_path.glob("*.zip"))) == 2
    steps, said = fetch(archives, tmp_path, server, keep_archive=False)
    assert all(step.done for step in steps) and said == ["fma_metadata.zip: removed", "fma_small.zip: removed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("fma_metadata", "fma_metadata.verified", "fma_small", "fma_small.verified")
    ]


def test_lost_and_damaged_files_come_back(archives, server: FileServer, tmp_path: Path):
    fetch(archives, tmp_path, server)
    server.requests.clear()
    song = tmp_path / "fma_small" / "000" / "000002.mp3"
    right = song.read_bytes()
    song.unlink()
    steps, said = fetch(archives, tmp_path, server)
    assert steps[1].lost == ("000/000002.mp3",) and song.read_bytes() == right
    assert said == ["fma_small: files written: 1, kept: 2; every SHA-1 verified"]
    song.write_bytes(right[:-1] + b"?")
    assert all(step.done for step in plan(archives, tmp_path, server.url))  # of the right size
    steps, _ = fetch(archives, tmp_path, server, every_byte=True)
    assert steps[1].lost == ("000/000002.mp3",) and song.read_bytes() == right
    assert server.requests == []  # all from the archive that was kept


def test_an_archive_that_is_there_but_wrong_is_left_to_its_owner(archives, server: FileServer, tmp_path: Path):
    path = tmp_path / "fma_metadata.zip"
    path.write_bytes(server.files[path.name][:1000])
    with pytest.raises(
        ArchiveError, match=r"expected .*fma_metadata\.zip to have the SHA-1 .*rename it to fma_metadata\.zip\.part"
    ):
        fetch(archives, tmp_path, server)
    path.rename(f"{path}.part")
    fetch(archives, tmp_path, server)
    assert ("GET", path.name, "bytes=1000-") in server.requests


def test_room_is_checked_first(archives, server: FileServer, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 10))
    with pytest.raises(
        DownloadError, match=r"free in .*fma_small: 0\.\d MiB to fetch and .* found 0\.0 MiB; make room"
    ):
        plan(archives, tmp_path, server.url)
    assert {method for method, _, _ in server.requests} == {"HEAD"} and list(tmp_path.iterdir()) == []
    monkeypatch.setattr("pipeline.download.fma.remote_bytes", lambda _: None)
    with pytest.raises(DownloadError, match=r"expected 1759\.8 GiB free .*fma_full: 879\.0 GiB to fetch"):
        plan(choose_archives("full"), tmp_path, server.url)


def test_a_subset_that_the_server_does_not_have(server: FileServer, tmp_path: Path):
    with pytest.raises(
        DownloadError, match=r"fma_medium\.zip, the server answered HTTP 404 Not Found; check --base_url"
    ):
        plan(choose_archives("medium"), tmp_path, server.url)


def test_the_archives_are_those_of_the_subsets(tmp_path: Path):
    assert tuple(AUDIO) == SUBSETS
    assert choose_archives("") == (METADATA,)
    assert [archive.name for archive in choose_archives("large")] == ["fma_metadata", "fma_large"]
    assert len({archive.sha1 for archive in (METADATA, *AUDIO.values())}) == 5
    (tmp_path / "sha1sums").write_text(f"{METADATA.sha1} *fma_metadata.zip\n")
    assert choose_archives("", tmp_path / "sha1sums") == (METADATA,)
    with pytest.raises(DownloadError, match=r"expected a line for fma_small\.zip"):
        choose_archives("small", tmp_path / "sha1sums")
