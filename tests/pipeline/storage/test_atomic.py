"""Files that appear whole or not at all."""

import errno
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.storage.atomic import atomic_write, is_partial, remove_partial, write_file, write_text


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_when_the_block_ends(tmp_path: Path):
    path = tmp_path / "a.b.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.suffix == ".csv" and is_partial(temporary)
    assert path.read_text() == "new" and names(tmp_path) == ["a.b.csv"] and not is_partial(path)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "a.csv"
    write_text(path, "old")
    with pytest.raises(error), atomic_write(str(path)) as temporary:
        Path(temporary).write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_named_with_a_remedy(tmp_path: Path, wrapped: bool):
    full = OSError(errno.ENOSPC, "No space left on device")
    message = r"expected room to write .*a\.npz, found none .* Make room"
    with pytest.raises(OSError, match=message) as raised, atomic_write(tmp_path / "a.npz"):
        if not wrapped:
            raise full
        try:
            raise full
        finally:
            raise ValueError("cannot close the archive")
    assert raised.value.errno == errno.ENOSPC and not names(tmp_path)


def test_what_a_killed_process_leaves_is_removed(tmp_path: Path):
    for name in (".a.partial.csv", ".b.partial", "c.csv"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert names(tmp_path) == ["c.csv"]
    remove_partial(tmp_path / "missing")


def test_remote_files():
    """TensorFlow's file system in memory stands for any that is remote."""
    path = "ram://folder/a.json"
    write_file(path, b"old")
    with pytest.raises(ValueError), atomic_write(path) as temporary:
        assert temporary.startswith("ram://folder/.")
        tf.io.gfile.GFile(temporary, "w").write("half")
        raise ValueError
    assert tf.io.gfile.GFile(path).read() == "old"
    write_file(path, b"new")
    assert tf.io.gfile.GFile(path).read() == "new" and tf.io.gfile.listdir("ram://folder") == ["a.json"]
