"""The console command `melstream`, and what --help prints of every command."""

import configparser
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from support.places import ROOT

from experiments import command_help, melstream, settings_flags
from experiments.settings import fields

COMMANDS = [name for names in melstream.COMMANDS.values() for name in names]


def run(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    """Runs `melstream` as its entry point would, without TensorFlow, which may not be imported."""
    code = """if True:
        import sys
        sys.modules["tensorflow"] = sys.modules["keras"] = None
        from experiments.melstream import main
        main()
    """
    environment = {"PATH": "", "COLUMNS": str(columns), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_every_command_is_listed():
    runnable = {path.stem for path in (ROOT / "experiments").glob("*.py") if "console.run(main" in path.read_text()}
    assert sorted(COMMANDS) == sorted(runnable)
    shown = run("--help").stdout
    assert shown == run().stdout and max(map(len, shown.splitlines())) <= 80
    for name in COMMANDS:
        assert re.search(rf"^  {name}  +\w", shown, re.M), name
    assert run("--version").stdout.startswith("melstream ")


def test_it_is_an_entry_point():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    name, _, target = config["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert (name, getattr(importlib.import_module(module), function)) == ("melstream", melstream.main)


@pytest.mark.parametrize(("word", "nearest"), [("trian", "train"), ("export", "export_saved_model"), ("", "")])
def test_an_unknown_command_is_one_sentence(word: str, nearest: str):
    result = run(word)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith(f"error: expected a command, received {word!r}; the nearest is {nearest}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_and_its_commands_can_be_copied(command: str, columns: int):
    """A shell's own parser reads each command line as one, with flags that the named command has."""
    result = run(command, "--help", columns=columns)
    assert (result.returncode, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= columns
    blocks = re.findall(r"^    (melstream (?:.*\\\n)*.*)$", result.stdout, re.M)
    assert any(shlex.split(block)[1] == command for block in blocks)
    for block in blocks:
        words = shlex.split(block)
        assert words[0] == "melstream" and words[1] in COMMANDS
        if words[1] == command:
            names = [word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")]
            assert names and all(re.search(rf"^  --(\[no\])?{name}\b", result.stdout, re.M) for name in names)


def test_a_command_runs_by_its_name(tmp_path: Path):
    result = run("make_demo_data", f"--data_dir={ROOT}")
    assert result.returncode == 1 and result.stderr.startswith("error: expected")
    stray = run("train", "stray")
    assert (stray.returncode, stray.stdout) == (1, "")
    assert stray.stderr == "error: expected only flags (--name=value), received 'stray'; --help lists the flags\n"


def test_settings_are_shown_once_by_topic_with_range_and_default():
    values = flags.FlagValues()
    settings_flags.define_flags("data", "features", "training", flag_values=values)
    defined = [values[name] for name in values]
    shown = command_help.format_help("Does it.", command_help.MODULE_PREFIX, defined, [], width=100)
    for name in fields("data", "features", "training"):
        assert len(re.findall(rf"^  --(\[no\])?{name}\b", shown, re.M)) == 1, name
    named = [name for names in command_help.TOPICS.values() for name in names]
    assert len(set(named)) == len(named) and set(named) <= {*fields("data", "features", "training"), "recipe"}
    assert list(re.findall(r"^(\w.*):$", shown, re.M)) == [*command_help.TOPICS, "Rarely used"]
    assert re.search(r"--epochs=N +.*Range: at least 1\. Default: 30\.", shown)
    assert "--decoder=auto|soundfile|tfio" in shown and "--[no]multi_label" in shown


def test_help_is_asked_for_before_the_files():
    assert command_help.asks_for_help(["--model=a", "-h"])
    assert not command_help.asks_for_help(["--", "--help"]) and not command_help.asks_for_help(["--helpfull"])


def test_a_typed_package_says_so():
    for package in ("pipeline", "layers", "experiments"):
        assert (ROOT / package / "py.typed").is_file()
