"""The lock on a folder, and file systems that have none."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from pipeline.storage.folder_lock import locked_folder

LOCK_AND_WAIT = (
    "import sys; from pathlib import Path; from pipeline.storage.folder_lock import locked_folder\n"
    "with locked_folder(Path(sys.argv[1]), 'download'): print('locked', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("ending", ["its end", "kill -9"])
def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path, ending: str):
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        # Not every file system says who holds a lock.
        holder = rf"( \(process {first.pid}\))?"
        message = f"expected to be alone in {tmp_path}, found another download at work there{holder}; let it end$"
        with pytest.raises(ValueError, match=message), locked_folder(tmp_path, "download"):
            pass
        if ending == "kill -9":
            first.kill()
        else:
            first.stdin.close()
        first.wait()
    told: list[str] = []
    with locked_folder(tmp_path, "download", say=told.append):
        pass
    assert told == []
    assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_its_block(tmp_path: Path):
    for _ in range(2):
        with (
            locked_folder(tmp_path, "training"),
            pytest.raises(ValueError, match="expected to be alone"),
            locked_folder(tmp_path, "training"),
        ):
            pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_without_locks_is_told_of_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    told: list[str] = []
    with locked_folder(tmp_path, "download", say=told.append):
        pass
    (line,) = told
    assert str(tmp_path) in line and os.strerror(code) in line and "\n" not in line
