"""What --help prints: what a command does, command lines to copy, and its flags by topic, the common ones first."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from absl import flags

from experiments.flag_types import NumberParser, PathParser

# How the docstrings of commands write a command line, and how the command `melstream` has them shown.
MODULE_PREFIX = "python -m experiments."
MELSTREAM_PREFIX = "melstream "
_HELP_FLAGS = ("--help", "-help", "-h", "-?", "--helpshort", "-helpshort")
_INDENT = 28  # of a flag's description
_WIDTHS = (60, 120)  # in columns, however narrow or wide the terminal is
_OWN = "This command's own"
_RARE = "Rarely used"
# The settings' flags by topic, in the order in which they are shown. Those that are named nowhere are rarely used.
TOPICS: dict[str, tuple[str, ...]] = {
    "Data": (
        "recipe",
        "dataset",
        "data_dir",
        "subset",
        "genres",
        "multi_label",
        "probe_csv",
        "exclude_csv",
        "relabel_csv",
    ),
    "Features": ("crop_seconds", "sample_rate_hz", "n_mels", "n_fft", "hop_length", "frontend", "scaling"),
    "Network": ("model", "pretrained_weights"),
    "Training": (
        *("epochs", "batch_size", "learning_rate", "crops_per_clip", "seed", "class_balance", "label_smoothing"),
        *("early_stopping_patience", "plateau_factor", "plateau_patience", "mixed_precision"),
    ),
    "Augmentation, off by default": (
        *("spec_augment_time_masks", "spec_augment_time_width", "spec_augment_mel_masks", "spec_augment_mel_width"),
        *("mixup_alpha", "time_shift_seconds", "random_eq_db", "gain_db", "polarity_inversion"),
        *("noise_snr_db_min", "noise_snr_db_max"),
    ),
}


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Returns whether a command line, without the program's name, asks for help; what comes after -- are files."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(argument in _HELP_FLAGS for argument in before)


def format_help(doc: str, prefix: str, defined: Iterable[flags.Flag], own: Sequence[str], width: int = 0) -> str:
    """Formats a command's help.

    Args:
        doc: the docstring of its module. Paragraphs are broken anew for the width; indented lines, the commands, stay.
        prefix: how the commands begin: `MODULE_PREFIX` or `MELSTREAM_PREFIX`.
        defined: its flags.
        own: the names of those that are not settings, in their order.
        width: in columns; 0: the terminal's, or 80 where there is none.
    """
    narrowest, widest = _WIDTHS
    width = width or max(narrowest, min(shutil.get_terminal_size().columns, widest))
    by_name = {flag.name: flag for flag in defined}
    topics = {_OWN: tuple(own)} | {topic: tuple(n for n in names if n not in own) for topic, names in TOPICS.items()}
    known = {name for names in topics.values() for name in names}
    topics[_RARE] = tuple(sorted(name for name in by_name if name not in known))
    parts = [format_doc(doc, prefix, width)]
    topics = {topic: names for topic, names in topics.items() if any(name in by_name for name in names)}
    for topic, names in topics.items():
        shown = [_format_flag(by_name[name], width) for name in names if name in by_name]
        parts.append("\n".join([f"{topic if len(topics) > 1 else 'Flags'}:", *shown]))
    parts.append(_filled("--helpfull also lists the flags of absl, such as --verbosity and --flagfile.", width))
    return "\n\n".join(parts) + "\n"


def format_doc(doc: str, prefix: str, width: int) -> str:
    """Breaks a command's docstring anew for a width in columns: paragraphs, and indented command lines, which stay whole."""
    doc = doc.strip("\n").replace(MODULE_PREFIX, prefix)
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", doc):
        if paragraph.startswith(" "):
            lines = re.sub(r"\s*\\\n\s*", " ", paragraph).splitlines()
            paragraphs.append("\n".join(_broken_command(line.strip(), width) for line in lines))
        else:
            paragraphs.append(_filled(" ".join(paragraph.split()), width))
    return "\n\n".join(paragraphs)


def is_required(flag: flags.Flag) -> bool:
    """Returns whether a flag has to be given."""
    return flag.default is None and any("other than None" in validator.message for validator in flag.validators)


def _filled(text: str, width: int, indent: str = "", next_indent: str = "") -> str:
    """Breaks a text between words only: a name of a flag or a path stays whole."""
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=next_indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _broken_command(line: str, width: int) -> str:
    """A command line with a backslash at each break, so that a shell takes it as one; a comment stays as it is."""
    if line.startswith("#"):
        return " " * 4 + line
    return _filled(line, width - 2, " " * 4, " " * 8).replace("\n", " \\\n")


def _format_flag(flag: flags.Flag, width: int) -> str:
    name = _with_value(flag)
    meaning = re.sub(r"^<[^>]*>: ", "", flag.help or "")  # absl's list of the choices
    text = _filled(f"{meaning} {_default(flag)}".strip(), width - _INDENT).splitlines()
    start = f"  {name}".ljust(_INDENT)
    lines = [start + text[0], *(" " * _INDENT + line for line in text[1:])]
    if len(f"  {name} ") > _INDENT:  # on a line of its own
        lines = [*_wrapped_choices(f"  {name}", width), *(" " * _INDENT + line for line in text)]
    return "\n".join(lines)


def _with_value(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}"
    if choices := getattr(flag.parser, "enum_values", None):
        return f"--{flag.name}={'|'.join(choices)}"
    if isinstance(flag.parser, NumberParser):
        return f"--{flag.name}={'N' if flag.parser.kind is int else 'X'}"
    if isinstance(flag.parser, PathParser):
        return f"--{flag.name}=PATH"
    return f"--{flag.name}={'A,B,…' if flag.flag_type().startswith('comma') else 'TEXT'}"


def _wrapped_choices(name: str, width: int) -> list[str]:
    """Breaks a long list of choices after a bar."""
    lines = [""]
    for piece in re.findall(r"[^|]+\|?", name):
        if len(lines[-1] + piece) > width:
            lines.append("      ")
        lines[-1] += piece
    return lines


def _default(flag: flags.Flag) -> str:
    if is_required(flag):
        return "Required."
    if "default" in (flag.help or "").lower():
        return ""
    if flag.default in (None, "", []):
        return "Default: none."
    if flag.boolean:
        return f"Default: {'yes' if flag.default else 'no'}."
    return f"Default: {str(flag.default_as_str).strip(chr(39))}."


def show_help(doc: str, prefix: str) -> None:
    """Prints the help of the command that runs, whose flags are those of the main program and of no other module."""
    from experiments.settings import Settings

    defined = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    helps = {field.name: field.metadata["help"] for field in dataclasses.fields(Settings)}
    # A flag of a setting's name may be the command's own, with a help of its own.
    own = [
        flag.name for flag in defined if flag.name != "recipe" and helps.get(flag.name, "\0") not in (flag.help or "")
    ]
    print(format_help(doc, prefix, defined, own), end="")
