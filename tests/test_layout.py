"""The layout that design and README promise: imports point one way."""

import ast
from pathlib import Path

import pytest
from support.places import ROOT

PACKAGES = ("pipeline", "layers", "experiments")
# Third-party packages that only the named files may import.
RESERVED = {
    "soundfile": (
        "pipeline/decoding/soundfile_decoder.py",
        "pipeline/demo/dataset.py",
        "experiments/benchmark/rows.py",
        "experiments/benchmark/peers.py",
    ),
    "soxr": ("pipeline/decoding/soundfile_decoder.py", "experiments/benchmark/peers.py"),
    "tensorflow_io": ("pipeline/decoding/tfio_decoder.py",),
    "kapre": ("layers/front_ends/log_mel.py",),
}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("**/*.py"))


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path):
    name = str(path.relative_to(ROOT))
    package = path.relative_to(ROOT).parts[0]
    forbidden = {"pipeline": {"layers", "experiments", "absl"}, "layers": {"pipeline", "experiments", "absl"}}
    roots = {imported.split(".")[0] for imported in imports(path)}
    assert not roots & forbidden.get(package, set())
    for module, allowed in RESERVED.items():
        assert module not in roots or name in allowed


def test_there_is_something_to_check():
    assert len(SOURCES) > 20
