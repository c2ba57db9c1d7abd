"""Zip archives as FMA packs them, damaged ones, and members that would land elsewhere."""

import hashlib
import random
import stat
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from fuzz.archive_targets import check_archive, make_archive
from support.archives import checksums, pack

from pipeline.download.archive_rules import check_members
from pipeline.download.archives import ArchiveError, extract
from pipeline.download.verified import read_record, record_path, wrong_files


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def songs(clips) -> dict[str, bytes]:
    return {f"{i % 2:03d}/{i:06d}.mp3": clip.read_bytes() for i, clip in enumerate(clips[:6])}


@pytest.fixture
def packed(songs, tmp_path: Path) -> Path:
    return pack(tmp_path / "fma_small.zip", songs)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_files_arrive_verified_and_recorded(songs, tmp_path: Path, method: int):
    folder = tmp_path / "fma_small"
    shown: list[tuple[str, int, int | None]] = []
    result = extract(pack(tmp_path / "fma_small.zip", songs, method), lambda *values: shown.append(values))
    assert (result.written, result.kept, result.unlisted, result.absent) == (7, 0, (), ())
    assert everything_below(folder) == songs | {"checksums": checksums(songs)}
    size = sum(map(len, everything_below(folder).values()))
    assert shown[-1] == ("extracting fma_small.zip", size, size)
    record = read_record(folder)
    assert {name: (file.sha1, file.size) for name, file in record.items()} == {
        name: (hashlib.sha1(data).hexdigest(), len(data)) for name, data in everything_below(folder).items()
    }
    assert wrong_files(folder, record) == wrong_files(folder, record, every_byte=True) == []


def test_right_files_are_kept_and_wrong_ones_replaced(songs, packed: Path):
    folder = packed.with_suffix("")
    extract(packed)
    names = list(songs)
    untouched = (folder / names[0]).stat()
    (folder / names[1]).unlink()
    (folder / names[2]).write_bytes(songs[names[2]][:-1])
    (folder / names[3]).write_bytes(songs[names[3]][:-1] + b"x")
    (folder / names[4]).with_name(f".{Path(names[4]).name}.partial").write_bytes(b"what a killed run left")
    (folder / names[4]).unlink()
    (folder / "mine.txt").write_text("not from the archive")
    record = read_record(folder)
    assert wrong_files(folder, record) == [names[1], names[2], names[4]]
    assert wrong_files(folder, record, every_byte=True) == names[1:5]
    result = extract(packed)
    assert (result.written, result.kept) == (4, 3)
    assert everything_below(folder) == songs | {"checksums": checksums(songs), "mine.txt": b"not from the archive"}
    assert (folder / names[0]).stat().st_mtime_ns == untouched.st_mtime_ns


def test_an_interrupted_extraction_goes_on(songs, packed: Path):
    folder = packed.with_suffix("")
    calls = 0

    def killed(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(packed, killed)
    assert read_record(folder) == {}
    there = everything_below(folder)
    assert all(there[name] == (songs | {"checksums": checksums(songs)})[name] for name in there)
    assert extract(packed).kept == len(there) < 7
    assert set(everything_below(folder)) == {*songs, "checksums"}


def test_a_damaged_record_counts_for_nothing(packed: Path):
    folder = packed.with_suffix("")
    extract(packed)
    whole = record_path(folder).read_bytes()
    for damaged in (b"", whole[:-1], whole[:-30], b"\xff" + whole, whole + b"x\n"):
        record_path(folder).write_bytes(damaged)
        assert read_record(folder) == {}
    assert extract(packed).kept == 7
    assert record_path(folder).read_bytes() == whole


def test_what_the_list_leaves_out_or_has_too_much_is_told(songs, tmp_path: Path):
    names = list(songs)
    listed = checksums({name: songs[name] for name in names[1:]} | {"000/999999.mp3": b""})
    packed = pack(tmp_path / "fma_small.zip", songs, listed=listed)
    assert extract(packed).unlisted == (names[0],)
    again = extract(packed)
    assert (again.kept, again.unlisted, again.absent) == (7, (names[0],), ("000/999999.mp3",))
    (tmp_path / "fma_small" / names[0]).write_bytes(b"x" * len(songs[names[0]]))
    assert extract(packed).written == 1  # found out by its CRC-32


@pytest.mark.parametrize("listed", [b"no list\n", b"\xff\xfe", b"0" * 39 + b"  000/000000.mp3\n"])
def test_a_list_that_is_none(songs, tmp_path: Path, listed: bytes):
    with pytest.raises(ArchiveError, match="line 1 of fma_small/checksums"):
        extract(pack(tmp_path / "fma_small.zip", songs, listed=listed))


def test_no_list(songs, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "fma_small.zip", "w") as archive:
        archive.writestr("fma_small/000/000000.mp3", b"music")
    with pytest.raises(ArchiveError, match=r"expected fma_small/checksums in .*found none"):
        extract(tmp_path / "fma_small.zip")


def test_a_file_unlike_its_sha1(songs, tmp_path: Path):
    name = list(songs)[2]
    packed = pack(tmp_path / "fma_small.zip", songs, listed=checksums(songs | {name: b"other"}))
    with pytest.raises(ArchiveError, match=rf"fma_small/{name} of .*SHA-1 is .*delete the archive and run the same"):
        extract(packed)
    assert name not in everything_below(tmp_path / "fma_small")
    assert not list(tmp_path.rglob("*.partial")) and not record_path(tmp_path / "fma_small").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_damaged_member_is_named(songs, tmp_path: Path, method: int):
    packed = pack(tmp_path / "fma_small.zip", songs, method)
    name = list(songs)[3]
    with zipfile.ZipFile(packed) as archive:
        member = archive.getinfo(f"fma_small/{name}")
    data = bytearray(packed.read_bytes())
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    packed.write_bytes(data)
    with pytest.raises(ArchiveError, match=rf"fma_small/{name} of .*fma_small\.zip to be readable, but it is damaged"):
        extract(packed)
    assert name not in everything_below(tmp_path / "fma_small")


@pytest.mark.parametrize("part", [0, 0.3, 0.999])
def test_a_truncated_archive(packed: Path, part: float):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ArchiveError, match=r"table of contents of .*is damaged"):
        extract(packed)
    assert not packed.with_suffix("").exists()


def test_no_archive(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "fma_small.zip")


def hostile(
    path: Path, *members: zipfile.ZipInfo | str, data: bytes = b"evil", method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """An archive that is good but for these members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("fma_small/checksums", b"")
        for member in members:
            archive.writestr(member, data)
    return path


def of_kind(mode: int, name: str = "fma_small/x.mp3", attributes: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (mode | 0o644) << 16 | attributes
    info.create_system = 3
    return info


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "fma_small/../evil", "fma_small/../../evil", "fma_small/a/../../../evil", "/evil", "//evil/x"),
        *("evil", "other/evil", "fma_small", "fma_smallest/x", "./fma_small/x", "fma_small/./x", "fma_small//x"),
        *(
            "fma_small\\..\\..\\evil",
            "C:\\evil",
            "C:/evil",
            "~/evil",
            "fma_small/.x.mp3.partial",
            "fma_small/.ssh/keys",
            "fma_small/\x1b[2Jx",
            "fma_small/x\ny",
            "fma_small/\u202egpj.mp3",
        ),
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: str):
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(ArchiveError, match="expected only plain files in "):
        extract(hostile(inside / "fma_small.zip", name))
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "fma_small.zip"]


def test_a_name_with_a_zero_byte_ends_there(tmp_path: Path):
    inside = tmp_path / "inside"
    inside.mkdir()
    packed = hostile(inside / "fma_small.zip", "fma_small/x.mp3Z../evil")
    packed.write_bytes(packed.read_bytes().replace(b"mp3Z", b"mp3\0"))
    extract(packed)
    assert set(everything_below(inside / "fma_small")) == {"checksums", "x.mp3"}
    assert list(tmp_path.iterdir()) == [inside]


def test_a_member_with_two_names(tmp_path: Path, monkeypatch):
    """As newer zipfile modules make of Info-ZIP's field for Unicode names."""
    packed = hostile(tmp_path / "fma_small.zip", "fma_small/x.mp3")
    monkeypatch.setattr(
        zipfile.ZipInfo, "_decodeExtra", lambda info, *_: setattr(info, "filename", "fma_small/../../y")
    )
    with pytest.raises(ArchiveError, match=r"a name with \.\."):
        extract(packed)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int):
    with pytest.raises(ArchiveError, match="a link or a special file"):
        extract(hostile(tmp_path / "fma_small.zip", of_kind(kind), data=b"/etc/passwd"))
    assert not (tmp_path / "fma_small").exists()


def test_permissions_are_not_taken_over(tmp_path: Path):
    info = of_kind(stat.S_IFREG | stat.S_ISUID | 0o777)
    extract(hostile(tmp_path / "fma_small.zip", info))
    assert (tmp_path / "fma_small" / "x.mp3").stat().st_mode & 0o7111 == 0


def edited(path: Path, name: str, **fields: int) -> Path:
    """Changes fields of a member's entry in the table of contents, and in its own header where that has them."""
    places = {"flag_bits": (8, 6, "<H"), "compress_type": (10, 8, "<H"), "CRC": (16, 14, "<L")}
    places |= {"compress_size": (20, 18, "<L"), "file_size": (24, 22, "<L"), "header_offset": (42, None, "<L")}
    with zipfile.ZipFile(path) as archive:
        header = archive.getinfo(name).header_offset
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46
    for field, value in fields.items():
        in_table, in_header, form = places[field]
        struct.pack_into(form, data, entry + in_table, value)
        if in_header is not None:
            struct.pack_into(form, data, header + in_header, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flag_bits": 1}, "encrypted"),
        ({"compress_type": zipfile.ZIP_LZMA}, "compression method 14"),
        ({"compress_type": 9}, "compression method 9"),
        ({"header_offset": 0}, "is damaged"),  # where another member is
        ({"file_size": 1 << 20}, "is damaged"),
        ({"file_size": 3}, "is damaged"),
        ({"file_size": 5}, "is damaged"),
        ({"CRC": 1}, "is damaged"),
    ],
    ids=str,
)
def test_headers_that_lie(tmp_path: Path, fields: dict[str, int], message: str):
    packed = hostile(tmp_path / "fma_small.zip", "fma_small/x.mp3")
    with pytest.raises(ArchiveError, match=message):
        extract(edited(packed, "fma_small/x.mp3", **fields))
    assert not (tmp_path / "fma_small" / "x.mp3").exists()


def test_a_message_stays_short(tmp_path: Path):
    """zipfile quotes the name that a damaged header has, up to 64 KiB of it."""
    packed = hostile(tmp_path / "fma_small.zip", "fma_small/x.mp3", data=random.Random(1).randbytes(100_000))
    data = bytearray(packed.read_bytes())
    struct.pack_into("<H", data, data.index(b"fma_small/x.mp3") - 4, 0xFFFF)
    packed.write_bytes(data)
    with pytest.raises(ArchiveError, match="File name in directory") as caught:
        extract(packed)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_bomb_that_announces_little_writes_no_more(tmp_path: Path, method: int):
    packed = hostile(tmp_path / "fma_small.zip", "fma_small/x.mp3", data=bytes(30 << 20), method=method)
    written = []
    with pytest.raises(ArchiveError, match="is damaged"):
        extract(edited(packed, "fma_small/x.mp3", file_size=1000), lambda _, done, total: written.append(done))
    assert max(written, default=0) <= 1000


def test_a_disk_that_is_too_small(packed: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ArchiveError, match=r"expected room for .*found 1,000; make room"):
        extract(packed)
    assert not packed.with_suffix("").exists()


def test_big_archives_can_be_read(tmp_path: Path, songs):
    """Zip64: entries with 64-bit sizes, as beyond 4 GiB or 65,535 members."""
    path = tmp_path / "fma_small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, data in (songs | {"checksums": checksums(songs)}).items():
            with archive.open(f"fma_small/{name}", "w", force_zip64=True) as file:
                file.write(data)
        for i in range(66_000):
            empty = zipfile.ZipInfo(f"fma_small/{i}/")
            empty.header_offset, empty.CRC = 0, 0
            archive.filelist.append(empty)
        archive._didModify = True
    assert path.read_bytes()[-22:].startswith(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff")
    assert extract(path).written == 7
    assert everything_below(tmp_path / "fma_small") == songs | {"checksums": checksums(songs)}


def test_a_page_is_no_archive(tmp_path: Path):
    (tmp_path / "fma_small.zip").write_bytes(b"<html>" * 1000)
    with pytest.raises(ArchiveError, match="delete the archive and run the same command again"):
        extract(tmp_path / "fma_small.zip")


def test_odd_and_damaged_archives(tmp_path: Path):
    """A few of what `check_archive` can try."""
    ended = [check_archive(tmp_path, make_archive(random.Random(f"archive {i}"))) for i in range(60)]
    assert 10 < ended.count("extracted") < 50


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("second", ["a.mp3", "A.mp3", "a.mp3/b.mp3"])
def test_two_files_in_one_place_are_refused(tmp_path: Path, second: str):
    path = tmp_path / "fma_small.zip"
    for names in (("a.mp3", second), (second, "a.mp3")):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(f"fma_small/{name}", b"1")
        with zipfile.ZipFile(path) as archive, pytest.raises(ArchiveError, match="another member has its place"):
            check_members(archive, "fma_small")


@pytest.mark.parametrize("name", ["a\u00a0b.mp3", "a\u3000b.mp3", "\ue000.mp3", "Bj\u00f6rk.mp3"])
def test_spaces_of_any_script_are_names(tmp_path: Path, name: str):
    path = pack(tmp_path / "fma_small.zip", {name: b"1"})
    with zipfile.ZipFile(path) as archive:
        assert name in check_members(archive, "fma_small")


@pytest.mark.parametrize("character", ["\n", "\x1b", "\u202e", "\u2028"])
def test_characters_that_steer_a_terminal_are_refused(tmp_path: Path, character: str):
    path = pack(tmp_path / "fma_small.zip", {f"a{character}b.mp3": b"1"})
    with zipfile.ZipFile(path) as archive, pytest.raises(ArchiveError, match="control characters"):
        check_members(archive, "fma_small")
