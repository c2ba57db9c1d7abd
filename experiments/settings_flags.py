"""The command-line flags of the settings (absl): each setting has a flag of its name."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from typing import Any

from absl import flags

from experiments.flag_types import define_number, define_path
from experiments.recipes import recipe_names
from experiments.settings import Settings
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER

flags.disclaim_key_flags()  # the flags belong to the script that defines them, and so appear in its --help

_NUMBERS: dict[str, type[int] | type[float]] = {"int": int, "float": float}
_OTHERS: dict[str, Callable[..., Any]] = {
    "str": flags.DEFINE_string,
    "bool": flags.DEFINE_bool,
    "tuple[str, ...]": flags.DEFINE_list,
}


def define_flags(*groups: str, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for every setting of the groups ("data", "features", "training"), and --recipe with all of them.

    Args:
        *groups: whose settings get flags.
        flag_values: where the flags are defined.
    """
    if {"data", "features", "training"} <= set(groups):
        flags.DEFINE_enum(
            "recipe",
            None,
            recipe_names(),
            "Flags that belong together, by name; those that are given beside it override.",
            flag_values=flag_values,
        )
    for field in dataclasses.fields(Settings):
        if field.metadata["group"] not in groups:
            continue
        default: Any = field.default
        help_text = field.metadata["help"]
        kind, _, _ = str(field.type).partition(" | ")
        if choices := field.metadata["choices"]:
            flags.DEFINE_enum(field.name, default, choices, help_text, flag_values=flag_values)
        elif field.metadata["is_path"]:
            define_path(field.name, default, help_text, flag_values=flag_values)
        elif kind in _NUMBERS:
            bounds = field.metadata["range"]
            define_number(field.name, default, help_text, _NUMBERS[kind], bounds, flag_values)
        else:
            _OTHERS[kind](field.name, default, help_text, flag_values=flag_values)


def settings_from_flags(flag_values: flags.FlagValues) -> Settings:
    """Makes settings of the parsed flags; a setting without a flag in this script keeps its default.

    Raises:
        ValueError: a value is out of range, flags contradict each other, or a package that they require is missing.
    """
    values: dict[str, Any] = {
        field.name: flag_values[field.name].value for field in dataclasses.fields(Settings) if field.name in flag_values
    }
    values["genres"] = tuple(genre.strip() for genre in values.get("genres") or () if genre.strip())
    if "decoder" in values:
        name = values["decoder"]
        DECODERS[name].check_package(f"--decoder={name}", f"leave the default, --decoder={DEFAULT_DECODER}")
    return Settings(**values)


def given(flag_values: flags.FlagValues) -> list[str]:
    """Returns the names of the settings whose flags stand on the command line, or in its recipe."""
    return [
        field.name
        for field in dataclasses.fields(Settings)
        if field.name in flag_values and flag_values[field.name].present
    ]


def flags_from_settings(settings: Settings) -> list[str]:
    """Returns the command-line flags that give these settings."""
    given = []
    for name, value in dataclasses.asdict(settings).items():
        if isinstance(value, tuple):  # absl reads a list as a row of CSV
            row = io.StringIO()
            csv.writer(row, lineterminator="").writerow(value)
            value = row.getvalue()
        if value is not None:  # then it is the default
            given.append(f"--{name}={value}")
    return given
