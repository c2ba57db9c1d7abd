"""The lock on a download's folder, and file systems that have none."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from pipeline.download.folder_lock import lock_folder

LOCK_AND_WAIT = (
    "import sys; from pathlib import Path; from pipeline.download.folder_lock import lock_folder;"
    "lock_folder(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
)


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path):
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=f"expected to be alone in {tmp_path}, found another download"):
            lock_folder(tmp_path)
        first.stdin.close()
        first.wait()
    told: list[str] = []
    lock_folder(tmp_path, told.append)
    assert told == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_told_of_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    told: list[str] = []
    lock_folder(tmp_path, told.append)
    (line,) = told
    assert str(tmp_path) in line and os.strerror(code) in line and "\n" not in line
