"""The console command `melstream`: lists the project's commands and runs them by name.

`melstream train …` is `python -m experiments.train …`.
"""

from __future__ import annotations

import ast
import difflib
import runpy
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from experiments import __version__

# In the order in which a user meets them.
COMMANDS: dict[str, tuple[str, ...]] = {
    "Get music": ("make_demo_data", "download_fma", "probe_audio", "audit_data", "pack_records"),
    "Look at it": ("explore_features", "show_augmentation"),
    "Train": ("fetch_weights", "train", "evaluate", "report", "compare_models"),
    "Use the model": ("export_saved_model", "predict"),
    "Speed": ("benchmark_pipeline", "data_service", "demo_distributed"),
}
_NAMES = [name for names in COMMANDS.values() for name in names]
_WIDEST = 120  # columns of text, however wide the terminal is


def list_commands(width: int) -> str:
    """Lists the commands with a line or two each, for a terminal of so many columns."""
    lines = ["usage: melstream COMMAND [--flag=value …]", "", "`melstream COMMAND --help` says what a command does."]
    indent = max(map(len, _NAMES)) + 4
    for topic, names in COMMANDS.items():
        lines += ["", f"{topic}:"]
        for name in names:
            text = textwrap.wrap(_first_line(name), width - indent)
            lines += [f"  {name}".ljust(indent) + text[0], *(" " * indent + line for line in text[1:])]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command as `python -m` would, or lists the commands.

    Args:
        arguments: those of the command line, without the program's name; None: of this process.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("--help", "-help", "-h", "help"):
        from experiments import console

        with console.standard_streams():
            print(list_commands(min(shutil.get_terminal_size().columns, _WIDEST)))
    elif name == "--version":
        print(f"melstream {__version__}")
    elif name in _NAMES:
        from experiments import command_help, console

        console.command_prefix = command_help.MELSTREAM_PREFIX
        sys.argv[1:] = rest
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    else:
        beginning = [command for command in _NAMES if name and command.startswith(name)]
        nearest = (beginning or difflib.get_close_matches(name.replace("-", "_"), _NAMES, n=1, cutoff=0.0))[0]
        print(
            f"error: expected a command, received {name!r}; the nearest is {nearest}, `melstream --help` lists them all",
            file=sys.stderr,
        )
        sys.exit(1)


def _first_line(name: str) -> str:
    """The first line of a command's docstring, without importing the command."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
