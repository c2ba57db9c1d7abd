"""Where compiled kernels are kept, and what becomes of a place that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from pipeline.mp3.native import compiled

_SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from pipeline.mp3.native.bits import read_bits
import numpy as np
assert read_bits(np.array([0xA5, 0, 0, 0], np.uint8), 1, 3) == 0b010
"""


def run_script(cache: Path, script: str = _SCRIPT) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_costs_a_line(tmp_path: Path):
    (tmp_path / "file").write_text("where a folder should be")
    said = run_script(tmp_path / "file")
    assert said.count("its cache cannot be written") == 1 and "Traceback" not in said


@pytest.mark.slow
def test_kernels_are_kept_where_the_user_keeps_caches(tmp_path: Path):
    assert run_script(tmp_path) == ""
    (folder,) = (tmp_path / "melstream").iterdir()
    assert list(folder.glob("**/*.nbi"))
    assert not list(tmp_path.glob("**/.[0-9]*"))


def test_the_folder_belongs_to_these_sources(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = compiled.cache_folder()
    assert before.parent == tmp_path / "melstream" and before == compiled.cache_folder()
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "bits.py").write_text("other sources")
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "native" / "compiled.py"))
    assert compiled.cache_folder() != before


def test_without_a_home(monkeypatch, caplog):
    def no_home():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    compiled._writable_cache_folder.cache_clear()
    try:
        kernel = compiled.kernel(lambda number: number + 1)
        assert kernel(1) == 2 and "cannot be written" in caplog.text
    finally:
        compiled._writable_cache_folder.cache_clear()
