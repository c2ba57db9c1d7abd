"""How make finds a Python and sets an environment up, with stand-ins for Pythons of several versions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

# Answers questions as a Python of that version would, makes folders that look like environments, and installs nothing.
STAND_IN = """#!/bin/sh
case "$1 $2" in
    "-m venv") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; touch "$4/pyvenv.cfg" ;;
    "-m pip") ;;
    *) exec {python} -c 'import sys; sys.version_info, sys._base_executable = {version}, "'"$0"'"; exec(sys.argv[1])' "$2" ;;
esac
"""
TOOLS = ("sh", "head", "ls", "sort", "tr", "cat", "dirname", "rm", "touch", "mkdir", "cp")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout beside a folder of programs, which is the PATH."""
    for name in ("checkout/.ci", "programs"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("pythons", "environment"):
        shutil.copy(ROOT / ".ci" / name, tmp_path / "checkout" / ".ci")
    (tmp_path / "checkout" / "requirements.lock").touch()
    for name in TOOLS:
        (tmp_path / "programs" / name).symlink_to(shutil.which(name))
    return tmp_path


def add_python(machine: Path, name: str, version: str) -> Path:
    path = machine / "programs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN.format(python=sys.executable, version=(*map(int, version.split(".")), 0)))
    path.chmod(0o755)
    return path


def run(machine: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine / "programs"), "HOME": str(machine), "PYENV_ROOT": str(machine / "pyenv")}
    command = [f".ci/{program}", *arguments]
    return subprocess.run(command, cwd=machine / "checkout", env=environment, capture_output=True, text=True)


def test_pythons_are_found_in_order_and_what_does_not_fit_is_named(machine):
    first = add_python(machine, "python3", "3.12")
    add_python(machine, "python3.12", "3.12")
    add_python(machine, "python3.10", "3.10")
    add_python(machine, "python3.14", "3.14")
    (machine / "programs" / "python3.11").write_text("#!/bin/sh\nexit 127\n")  # pyenv's, for one that is not chosen
    (machine / "programs" / "python3.11").chmod(0o755)
    newest = add_python(machine, "../pyenv/versions/3.13.10/bin/python", "3.13").resolve()
    add_python(machine, "../pyenv/versions/3.13.2/bin/python", "3.13")
    found = run(machine, "pythons")
    assert found.stdout.splitlines() == [f"3.12 {first}", f"3.13 {newest}"]
    assert [line.split(":")[0] for line in found.stderr.splitlines()] == [
        "Python 3.14 (python3.14) is left out",
        "Python 3.10 (python3.10) is left out",
    ]


def test_no_python_that_fits(machine):
    add_python(machine, "python3", "3.10")
    result = run(machine, "environment", ".venv")
    assert result.returncode == 1 and not (machine / "checkout" / ".venv").exists()
    assert result.stderr.splitlines()[-1].startswith("error: expected Python 3.11, 3.12 or 3.13")
    assert "found none as PYTHON=python3.13" in run(machine, "environment", ".venv", "python3.13").stderr


def test_an_environment_is_set_up_once_and_anew_for_a_reason(machine):
    add_python(machine, "python3", "3.11")
    add_python(machine, "python3.13", "3.13")
    environment = machine / "checkout" / ".venv"

    def said(*wanted: str) -> str:
        result = run(machine, "environment", ".venv", *wanted)
        assert result.returncode == 0 and (environment / "installed").exists(), result.stderr
        return result.stdout

    assert said().startswith("Setting up .venv with Python 3.11")
    assert said() == said("python3") == said("") == ""
    assert ", anew: it is of Python 3.11, and PYTHON=python3.13 is 3.13" in said("python3.13")
    assert said() == "", "the one that is there fits"
    for version in ("3.10", "3.14"):
        add_python(machine, "../checkout/.venv/bin/python", version)
        assert f"3.11, {machine}/programs/python3, anew: it is of Python {version}, and melstream needs" in said()
    (environment / "bin" / "python").unlink()
    assert "anew: its Python does not run" in said()
    (environment / "installed").unlink()
    assert "anew: its installation was not finished" in said()
    os.utime(environment / "installed", (1, 1))
    assert "anew: requirements.lock is newer" in said()


def test_what_is_not_its_own_is_left_alone(machine):
    add_python(machine, "python3", "3.12")
    other = machine / "other"
    add_python(machine, "../other/bin/python", "3.10")
    (other / "pyvenv.cfg").touch()
    link = machine / "checkout" / ".venv"
    link.symlink_to(other)
    assert "anew: it is of Python 3.10" in run(machine, "environment", ".venv").stdout
    assert not link.is_symlink() and (link / "installed").exists()
    assert sorted(path.name for path in other.iterdir()) == ["bin", "pyvenv.cfg"]
    music = machine / "music"
    music.mkdir()
    (music / "a.mp3").touch()
    result = run(machine, "environment", "../music")
    assert result.returncode == 1 and "expected an environment or nothing at ../music" in result.stderr
    assert [path.name for path in music.iterdir()] == ["a.mp3"]
