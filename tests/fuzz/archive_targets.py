"""Odd and damaged archives, tried on the extractor: `make_archive` makes one, `check_archive` tries it.

Half of them are good archives with some bytes changed, half are well-formed and hold what they must not.
"""

import hashlib
import io
import random
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from unittest import mock

from fuzz.target import Prepared, Target
from pipeline.download.archives import ArchiveError, extract

_NAMES = (
    *("fma_small/x.mp3", "fma_small/000/000002.mp3", "fma_small/000", "fma_small/X.mp3", "fma_small/", "fma_small/a/"),
    *(
        "../evil",
        "fma_small/../../evil",
        "/tmp/evil",
        "fma_small/a/../../../evil",
        "evil",
        "other/evil",
        "",
        "/",
        ".",
        "..",
    ),
    *("fma_small\\..\\evil", "C:\\evil", "fma_small/con", "fma_small/\x1b[2J", "fma_small/e\u0301", "fma_small/é"),
    *(
        "fma_small/.x.mp3.partial",
        "fma_small/checksums",
        "fma_small/" + "x" * 300,
        "fma_small.verified",
        "fma_small//y",
    ),
)
_MODES = (0, 0o100644, 0o100644, 0o100644, 0o040755, 0o120777, 0o010644, 0o060644, 0o104755)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_GOOD = {f"00{i}/00000{i}.mp3": bytes(range(256)) * (i + 1) for i in range(4)}
_ODD_BYTES = (0, 1, 0x7F, 0x80, 0xFF)


def make_archive(rng: random.Random) -> bytes:
    """An archive from a generator, and from nothing else."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", rng.choice(_METHODS[:3])) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        listed = "".join(f"{hashlib.sha1(data).hexdigest()}  {name}\n" for name, data in _GOOD.items())
        _add(archive, "fma_small/checksums", listed.encode())
        for name, data in _GOOD.items():
            _add(archive, f"fma_small/{name}", data)
        well_formed = rng.random() < 0.5
        for i in range(rng.randrange(3) if well_formed else 0):
            data = rng.choice((b"", b"evil", bytes(3 << 20), rng.randbytes(5000)))
            name = rng.choice((*_NAMES, *(f"fma_small/{i}.mp3",) * len(_NAMES)))
            _add(archive, name, data, rng.choice(_MODES), rng.choice(_METHODS))
    changed = bytearray(buffer.getvalue())
    if not well_formed or rng.random() < 0.2:
        _change(changed, rng)
    return bytes(changed)


def check_archive(folder: Path, data: bytes) -> str:
    """Extracts an archive in an empty folder and says how that ended.

    Raises:
        AssertionError: something lies outside of the archive's folder, is no plain file, or is not what was listed.
    """
    inside = folder / "inside"
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir()
    packed = inside / "fma_small.zip"
    packed.write_bytes(data)
    try:
        with mock.patch("os.sync"):  # takes longer than all the rest
            extract(packed)
        ended = "extracted"
    except ArchiveError as error:
        assert 0 < len(str(error)) < 1000 and "\x1b" not in str(error), str(error)[:300]
        ended = "ArchiveError"
    assert list(folder.iterdir()) == [inside], list(folder.iterdir())
    found = [path for path in inside.rglob("*") if path != packed]
    allowed = {inside / "fma_small", inside / "fma_small.verified"} if ended == "extracted" else {inside / "fma_small"}
    for path in found:
        assert path in allowed or inside / "fma_small" in path.parents, path
        assert not path.is_symlink() and (path.is_file() or path.is_dir()), path
        assert not path.name.startswith("."), path
        assert path.stat().st_mode & 0o7000 == 0, path
    if any(path.is_file() for path in found):
        with zipfile.ZipFile(packed) as archive:
            announced = {member.filename.partition("/")[2]: member.file_size for member in archive.infolist()}
        for path in set(found) - {inside / "fma_small.verified"}:
            assert (
                not path.is_file() or path.stat().st_size == announced[str(path.relative_to(inside / "fma_small"))]
            ), path
    if ended == "extracted":
        for line in (inside / "fma_small" / "checksums").read_text(errors="replace").splitlines():
            path = inside / "fma_small" / line[42:]
            assert not path.is_file() or hashlib.sha1(path.read_bytes()).hexdigest() == line[:40].lower(), path
    return ended


def _add(archive: zipfile.ZipFile, name: str, data: bytes, mode: int = 0o100644, method: int | None = None) -> None:
    info = zipfile.ZipInfo(name or "Z")
    info.external_attr = mode << 16
    archive.writestr(info, data, compress_type=archive.compression if method is None else method)


def _change(data: bytearray, rng: random.Random) -> None:
    """Changes bytes, mostly in headers; or repeats, moves or cuts off a piece."""
    headers = [found.start() for found in re.finditer(b"PK(\1\2|\3\4|\5\6)", data)]
    for _ in range(rng.choice((0, 1, 1, 2))):
        place = rng.choice(headers) + rng.randrange(70) if headers and rng.random() < 0.7 else rng.randrange(len(data))
        data[place % len(data)] = rng.choice(
            (*_ODD_BYTES, rng.randrange(256), data[place % len(data)] ^ 1 << rng.randrange(8))
        )
    if rng.random() < 0.2:
        first = rng.randrange(len(data))
        piece = data[first : first + rng.randrange(200)]
        other = rng.randrange(len(data))
        data[other : other + rng.choice((0, len(piece)))] = piece
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]


TARGETS = {
    "archive": Target(
        "extract: a zip archive",
        20_000,
        lambda folder: Prepared(make_archive, lambda data: check_archive(folder, data)),
    )
}
