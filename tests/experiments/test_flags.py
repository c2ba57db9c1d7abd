"""The flags of all commands: ~ in every path, one sentence for every number out of its range."""

import os
import pwd
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from absl import flags
from support.scripts import run_script

from experiments.flag_types import NumberParser, PathParser, define_number, expand_home
from experiments.setting_fields import Range
from experiments.settings import Settings, fields

# Every command; a module at the top of `experiments` that can be run is one.
COMMANDS = sorted(
    path.stem
    for path in (Path(__file__).resolve().parent.parent.parent / "experiments").glob("*.py")
    if "console.run(main" in path.read_text()
)
# Flags of text that is no path of this machine.
TEXTS = {
    "model",
    "freeze",
    "subset",
    "genres",
    "data_service",
    "models",
    "seeds",
    "sweep",
    "folds",
    "checks",
    "weights",
    "base_url",
}
TEXTS |= {"dispatcher", "host"}
ABSURD = ("nan", "inf", "-inf", "-1e99", "1e99", str(10**40), "many", "")
MAY_BE_NEGATIVE = {"noise_snr_db_min", "noise_snr_db_max"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_a_command_is_a_path_or_a_number_with_a_range_or_a_choice(command: str):
    shown = ElementTree.fromstring(run_script(command, "--helpxml", check=False).stdout)
    own = [flag for flag in shown.iter("flag") if command in flag.findtext("file")]
    assert own, "the command's own flags"
    for flag in own:
        name, kind = flag.findtext("name"), flag.findtext("type")
        assert kind in ("path", "int", "float", "bool", "string enum", "string enum list") or name in TEXTS, (
            name,
            kind,
        )
        if kind in ("int", "float"):
            assert "Range: " in flag.findtext("meaning"), name


@pytest.mark.parametrize("name", fields("data", "features", "training"))
def test_absurd_numbers_are_one_sentence(name: str):
    values = flags.FlagValues()
    from experiments import settings_flags

    settings_flags.define_flags("data", "features", "training", flag_values=values)
    parser = values[name].parser
    if not isinstance(parser, NumberParser):
        return
    for text in (*ABSURD, *["-1"] * (name not in MAY_BE_NEGATIVE)):
        with pytest.raises(
            flags.IllegalFlagValueError, match=rf"^expected {name} .*, received .*; choose another --{name}$"
        ):
            parser.parse(text)
    if (default := getattr(Settings(), name)) is not None:
        assert parser.parse(str(default)) == default


def test_a_number_in_a_flag_of_a_command():
    values = flags.FlagValues()
    define_number("clips", 3, "Clips.", minimum=1, limit=100, flag_values=values)
    assert values["clips"].help == "Clips. Range: at least 1."
    for text, expected in (("0", "of at least 1"), ("101", "of at most 100"), ("3.5", "as a whole number")):
        with pytest.raises(flags.IllegalFlagValueError, match=f"expected clips {expected}, received {text}; choose"):
            values(["program", f"--clips={text}"])
    assert Range(minimum=-2, maximum=2).unmet(float("nan")) == "as a finite number between -2 and 2"


def test_a_home_folder_is_written_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    user = pwd.getpwuid(os.getuid())
    parse = PathParser().parse
    for given, path in (
        ("~", str(tmp_path)),
        ("~/run", f"{tmp_path}/run"),
        (f"~{user.pw_name}/run", f"{user.pw_dir}/run"),
        ("gs://bucket/~/run", "gs://bucket/~/run"),
        ("./~/run", "./~/run"),
        ("a~/b", "a~/b"),
        ("/data/", "/data/"),
    ):
        assert parse(given) == path
    with pytest.raises(
        flags.IllegalFlagValueError, match=r"found none for ~no-such-user in .*; write \./~no-such-user/a"
    ):
        parse("~no-such-user/a")
    (tmp_path / "~kept.mp3").touch()
    assert expand_home("~kept.mp3") == "~kept.mp3"


def test_file_arguments_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run_script("predict", "--saved_model=~/no_model", "--", "~/a.mp3", check=False)
    assert result.returncode == 1 and f"at {tmp_path}/no_model, found nothing" in result.stderr
