"""The project's scripts, run as a user would."""

import subprocess
from pathlib import Path

from support.places import ROOT
from support.preloaded import run_preloaded


def as_flags(**values: object) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def run_script(name: str, *flags: str, cwd: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `python -m experiments.<name>` as a user would, but for the seconds in which TensorFlow is imported."""
    result = run_preloaded(f"experiments.{name}", list(flags), cwd)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result
