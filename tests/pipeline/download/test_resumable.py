"""Downloads from servers that break off, lie, stall and change their mind."""

import hashlib
import resource
import socket
from pathlib import Path

import pytest
from support.file_server import FileServer, serving

from pipeline.download.http_client import DownloadError, remote_bytes
from pipeline.download.resumable import download, sha1_of

DATA = bytes(range(256)) * 1000
SHA1 = hashlib.sha1(DATA).hexdigest()


@pytest.fixture
def server():
    with serving({"a.zip": DATA}) as server:
        yield server


class Fetch:
    """Fetches a.zip into a folder, keeping what was said and how long it would have slept."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        self.path, self.part, self.url = folder / "a.zip", folder / "a.zip.part", server.url + "a.zip"
        self.said: list[str] = []
        self.pauses: list[float] = []

    def __call__(self, max_bytes: int = 2 * len(DATA), retries: int = 3, stall_seconds: float = 10, **options) -> None:
        options = {"say": self.said.append, "sleep": self.pauses.append} | options
        download(self.url, self.path, SHA1, max_bytes, retries=retries, stall_seconds=stall_seconds, **options)


@pytest.fixture
def fetch(tmp_path: Path, server: FileServer) -> Fetch:
    return Fetch(tmp_path, server)


def only_the_file_is_left(fetch: Fetch) -> bool:
    return fetch.path.read_bytes() == DATA and list(fetch.path.parent.iterdir()) == [fetch.path]


def test_a_file_arrives(fetch: Fetch, server: FileServer):
    shown: list[tuple[str, int, int | None]] = []
    fetch(progress=lambda *values: shown.append(values))
    assert only_the_file_is_left(fetch) and fetch.said == []
    assert shown[0] == ("a.zip", 0, len(DATA)) and shown[-1] == ("a.zip", len(DATA), len(DATA))
    assert [done for _, done, _ in shown] == sorted(done for _, done, _ in shown)
    assert sha1_of(fetch.path) == SHA1 and remote_bytes(fetch.url) == len(DATA)


@pytest.mark.parametrize(
    "faults",
    [
        ["break"],
        ["break", "break", "break"],
        ["503", "500", "429"],
        ["break", "no ranges"],
        ["break", "changed"],
        ["break", "other range"],
        ["too long"],
        ["no length"],
        ["break", "503", "no ranges break", "503", "too long"],
    ],
    ids=" ".join,
)
def test_faults_that_another_attempt_mends(fetch: Fetch, server: FileServer, faults: list[str]):
    server.faults = list(faults)
    fetch()
    assert only_the_file_is_left(fetch)
    assert server.faults == []
    broken = sum(fault not in ("no ranges", "changed", "too long", "no length") for fault in faults)
    assert sum("going on at byte" in line for line in fetch.said) == broken == len(fetch.pauses)
    assert any("starting over" in line for line in fetch.said) == any(
        fault.startswith(("no ranges", "changed", "other")) for fault in faults
    )


def test_a_break_is_continued_where_it_was(fetch: Fetch, server: FileServer):
    server.faults = ["break", "break"]
    fetch()
    half = len(DATA) // 2
    assert [wanted for _, _, wanted in server.requests] == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_what_an_earlier_run_left_is_continued_from_any_server(fetch: Fetch, server: FileServer):
    fetch.part.write_bytes(DATA[:1000])
    Path(f"{fetch.part}.json").write_text('{"url": "http://elsewhere/a.zip", "validator": "\\"other\\""}')
    fetch()
    assert only_the_file_is_left(fetch) and server.requests == [("GET", "a.zip", "bytes=1000-")]


def test_a_complete_part_needs_no_server(fetch: Fetch, server: FileServer):
    fetch.part.write_bytes(DATA)
    fetch()
    assert only_the_file_is_left(fetch) and server.requests == []


def test_a_part_longer_than_the_file_is_begun_again(fetch: Fetch):
    fetch.part.write_bytes(DATA + b"more")
    fetch()
    assert only_the_file_is_left(fetch) and "HTTP 416" in fetch.said[0]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"url": 1}', "\0"])
def test_a_damaged_note_of_the_source_is_no_obstacle(fetch: Fetch, damage: str):
    fetch.part.write_bytes(DATA[:1000])
    Path(f"{fetch.part}.json").write_text(damage)
    fetch()
    assert only_the_file_is_left(fetch)


@pytest.mark.parametrize("fault", ["stall", "trickle"])
def test_a_stalled_connection_is_opened_anew(fetch: Fetch, server: FileServer, fault: str):
    server.faults = [fault]
    if fault == "trickle":  # what trickled in is wrong, so the whole ends in another error
        with pytest.raises(DownloadError, match="SHA-1"):
            fetch(stall_seconds=0.3)
        assert "bytes arrived in 0 s" in fetch.said[0]
    else:
        fetch(stall_seconds=0.3)
        assert only_the_file_is_left(fetch) and "nothing arrived for 0.3 s" in fetch.said[0]


@pytest.mark.parametrize("faults", [["wrong"], ["too short"], ["break", "wrong"]], ids=" ".join)
def test_wrong_bytes_never_get_the_name(fetch: Fetch, server: FileServer, faults: list[str]):
    server.faults = faults
    with pytest.raises(DownloadError, match=rf"expected .* SHA-1 {SHA1}, received .* deleted: run the same command"):
        fetch()
    assert list(fetch.path.parent.iterdir()) == []
    fetch()
    assert only_the_file_is_left(fetch)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("404", "HTTP 404 Not Found; check --base_url"),
        ("403", "HTTP 403 Forbidden"),
        ("416", "HTTP 416"),
        ("page", "received a web page"),
        ("huge", "announced 1,000,000,000,256,000"),
        ("endless", "received more; they were deleted"),
    ],
)
def test_what_no_attempt_mends_is_said_at_once(fetch: Fetch, server: FileServer, fault: str, message: str):
    server.faults = [fault]
    with pytest.raises(DownloadError, match=message):
        fetch()
    assert len(server.requests) == 1 and not fetch.path.exists()


def test_a_page_does_not_cost_what_has_arrived(fetch: Fetch, server: FileServer):
    fetch.part.write_bytes(DATA[:1000])
    server.faults = ["page"]
    with pytest.raises(DownloadError, match="log in"):
        fetch()
    assert fetch.part.read_bytes() == DATA[:1000]


def test_attempts_in_vain_are_counted_and_their_pauses_grow(fetch: Fetch, server: FileServer):
    server.faults = ["break"] + ["503"] * 99
    with pytest.raises(DownloadError, match=r"nothing new in 9 attempts, at last: HTTP 503 .* 128,000 bytes are kept"):
        fetch(retries=8)
    assert fetch.pauses == [1, 1, 2, 4, 8, 16, 32, 60, 60]
    assert fetch.part.read_bytes() == DATA[: len(DATA) // 2]


def test_a_server_without_ranges_that_always_breaks_off_ends_too(fetch: Fetch, server: FileServer):
    server.faults = ["no ranges break"] * 99
    with pytest.raises(DownloadError, match="nothing new in 4 attempts"):
        fetch()
    assert len(server.requests) == 5


def test_no_server(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    pauses: list[float] = []
    url = f"http://127.0.0.1:{port}/a.zip"
    with pytest.raises(DownloadError, match=r"received none in 4 attempts: no answer \(Connection refused\)"):
        remote_bytes(url, sleep=pauses.append)
    assert pauses == [1, 2, 4]
    with pytest.raises(DownloadError, match="nothing new in 2 attempts"):
        download(url, tmp_path / "a.zip", SHA1, 10, say=pauses.append, retries=1, sleep=pauses.append)


def test_a_full_disk_keeps_what_has_arrived(fetch: Fetch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # stands in for the disk's size
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            DownloadError, match=r"expected to write to .*a\.zip\.part, received: File too large; .* kept"
        ):
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fetch.part.read_bytes() == DATA[:1000]
    fetch()
    assert only_the_file_is_left(fetch)


def test_a_size_that_the_server_does_not_say(server: FileServer, monkeypatch):
    with pytest.raises(DownloadError, match="HTTP 404"):
        remote_bytes(server.url + "b.zip")
    monkeypatch.setattr("support.file_server.Handler.do_HEAD", lambda handler: handler.send_error(405))
    assert remote_bytes(server.url + "a.zip") is None
