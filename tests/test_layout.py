"""The layout that BUILD_NOTES promises: who may import whom, between the packages and inside them."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.places import ROOT

PACKAGES = ("pipeline", "layers", "experiments")
# Third-party packages that only the named files, or the files below a named folder, may import.
RESERVED = {
    "soundfile": (
        "pipeline/decoding/soundfile_decoder.py",
        "pipeline/decoding/sound_files.py",
        "pipeline/demo/dataset.py",
        "pipeline/demo/planted.py",
        "experiments/benchmark/limit.py",
        "experiments/benchmark/rivals",
    ),
    "soxr": (
        "pipeline/decoding/native_decoder.py",
        "pipeline/decoding/soundfile_decoder.py",
        "experiments/benchmark/rivals",
    ),
    "numba": ("pipeline/mp3/native",),
    "tensorflow_io": ("pipeline/decoding/tfio_decoder.py",),
    "kapre": ("layers/front_ends/log_mel.py",),
    "jinja2": ("experiments/reporting",),
}
# What each room may import of the other rooms of its package; a module at the top of a package is a room of its own.
ARROWS = {
    "pipeline.storage": "",
    "pipeline.windows": "",
    "pipeline.order": "",
    "pipeline.failures": "",
    "pipeline.failed_examples": "failures",
    "pipeline.mp3": "storage",
    "pipeline.decoding": "mp3 storage windows",
    "pipeline.clip_lists": "failures",
    "pipeline.ledgered": "failed_examples failures",
    "pipeline.pass_counter": "",
    "pipeline.passes": "clip_lists decoding failed_examples ledgered order pass_counter storage",
    "pipeline.dataset": "clip_lists decoding failed_examples failures ledgered order passes windows",
    "pipeline.directory_arguments": "",
    "pipeline.directory": (
        "clip_lists dataset decoding directory_arguments directory_files failures ledgered order passes storage"
    ),
    "pipeline.directory_files": "catalogs storage",
    "pipeline.service": "dataset decoding passes",
    "pipeline.catalogs": "decoding demo failures storage",
    "pipeline.download": "storage",
    "pipeline.demo": "storage",
    "layers.front_ends": "keras_settings",
    "layers.networks": "keras_settings",
    "layers.augmentation": "keras_settings",
    "layers.keras_settings": "",
    "layers.classifier": "front_ends keras_settings networks",
    "layers.portable": "front_ends",
    "layers.public": "augmentation classifier front_ends networks",
    "experiments.command_help": "flag_types settings",
    "experiments.console": "command_help flag_types keras_settings recipes",
    "experiments.figures": "",
    "experiments.flag_types": "setting_fields",
    "experiments.keras_settings": "",
    "experiments.recipes": "",
    "experiments.setting_fields": "",
    "experiments.settings": "setting_fields",
    "experiments.settings_flags": "flag_types recipes settings",
    "experiments.pretrained": "",
    "experiments.runs": "console pretrained settings",
    "experiments.builders": "console pretrained runs settings",
    "experiments.exploration": "builders console figures runs settings",
    "experiments.audit": "console runs",
    "experiments.prediction": "console figures settings",
    "experiments.evaluation": "builders console figures runs settings",
    "experiments.training": "builders console evaluation figures pretrained runs settings",
    "experiments.comparison": "builders console evaluation figures pretrained runs settings settings_flags training",
    "experiments.benchmark": "builders console evaluation figures runs settings training",
    "experiments.export": "prediction runs settings",
    "experiments.reporting": "audit builders console evaluation figures prediction runs settings",
}
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("**/*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in SOURCES}


def imports(path: Path) -> set[str]:
    """Every name that a file imports, wherever in it: `from a import b` is a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_modules(path: Path) -> set[str]:
    """The modules of the project that a file imports."""
    found = set()
    for name in imports(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name:
            found.add(name)
    return found


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def is_command(module: str) -> bool:
    """Whether a module is run by `python -m`: it stands at the top and may import every room."""
    return 'if __name__ == "__main__"' in MODULES[module].read_text() and module.count(".") == 1


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str):
    path, package = MODULES[module], module.split(".")[0]
    forbidden = {"pipeline": {"layers", "experiments", "absl"}, "layers": {"pipeline", "experiments", "absl"}}
    roots = {imported.split(".")[0] for imported in imports(path)}
    assert not roots & forbidden.get(package, set())
    for reserved, places in RESERVED.items():
        allowed = any(path == ROOT / place or ROOT / place in path.parents for place in places)
        assert allowed or reserved not in roots
    if module == package or is_command(module):
        return
    assert room(module) in ARROWS, "say here what this room may import"
    others = {room(name) for name in own_modules(path) if name.startswith(package + ".")} - {room(module)}
    assert others <= {f"{package}.{name}" for name in ARROWS[room(module)].split()}


def test_arrows_run_in_no_circle():
    rooms = {name: {f"{name.split('.')[0]}.{other}" for other in others.split()} for name, others in ARROWS.items()}
    tuple(TopologicalSorter(rooms).static_order())  # raises CycleError
    assert set(rooms) == {room(module) for module in MODULES if module not in PACKAGES and not is_command(module)}


def test_modules_import_each_other_in_no_circle():
    graph = {module: own_modules(path) - {module} - set(PACKAGES) for module, path in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())


def test_every_package_says_what_it_holds():
    for folder in {path.parent for path in SOURCES}:
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert docstring and docstring.splitlines()[0].endswith("."), folder


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("import os", "pipeline.order", set()),
        ("from pipeline.mp3 import frames", "x", {"pipeline.mp3.frames"}),
        ("from pipeline.mp3.frames import parse_header", "x", {"pipeline.mp3.frames"}),
        ("def f():\n    from pipeline.order import Order", "x", {"pipeline.order"}),
    ],
)
def test_imports_are_found(name: str, module: str, expected: set[str], tmp_path: Path):
    """So that the tests above cannot pass because they see nothing."""
    (tmp_path / "a.py").write_text(name)
    assert own_modules(tmp_path / "a.py") == expected
    assert len(MODULES) > 100
