"""The command `melstream`, and what --help prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

from experiments.melstream import COMMANDS, list_commands, main

NAMES = [name for names in COMMANDS.values() for name in names]


def run(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.melstream", *arguments]
    environment = {"COLUMNS": str(columns), "PATH": "/usr/bin"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_it_lists_every_command():
    scripts = {path.stem for path in (ROOT / "experiments").glob("*.py") if "console.run(main" in path.read_text()}
    assert scripts == set(NAMES)
    shown = list_commands(80)
    for name in NAMES:
        assert re.search(rf"^  {name} +\w", shown, re.M)
    assert max(map(len, shown.splitlines())) <= 80


def test_unknown_commands_and_versions(capsys):
    with pytest.raises(SystemExit):
        main(["trian"])
    assert "received 'trian'; the nearest is train" in capsys.readouterr().err
    main(["--version"])
    assert re.fullmatch(r"melstream \d+\.\d+.*\n", capsys.readouterr().out)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", NAMES)
def test_help_has_commands_to_copy_and_each_flag_once(name: str, columns: int):
    shown = run(name, "--help", columns=columns).stdout
    flags = re.findall(r"^  --(?:\[no\])?(\w+)", shown, re.M)
    assert flags and len(flags) == len(set(flags))
    # A command line that is broken goes on behind a backslash: a shell takes it as one.
    examples = re.findall(r"^    melstream (?:.*\\\n)*.*$", shown, re.M)
    assert examples
    for example in examples:
        words = shlex.split(example.replace("\\\n", " "), comments=True)
        assert words[1] in NAMES and len(words) > 2
        assert not any(word == "\\" for word in words)
    long = [line for line in shown.splitlines() if len(line) > columns]
    assert not [line for line in long if " " in line.strip()], long


def test_it_runs_a_command(tmp_path: Path):
    result = run("probe_audio", "--dataset=folders", f"--data_dir={tmp_path / 'gone'}")
    assert result.returncode == 1 and result.stderr.startswith("error: expected a folder of label folders")
