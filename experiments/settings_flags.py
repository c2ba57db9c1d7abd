"""The command-line flags of the settings (absl): each setting has a flag of its name."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from typing import Any

from absl import flags

from experiments.recipes import recipe_names
from experiments.setting_fields import range_text
from experiments.settings import Settings
from pipeline.decoding.registry import DECODERS, DEFAULT_DECODER, SERVICE_DECODER

flags.disclaim_key_flags()  # the flags belong to the script that defines them, and so appear in its --help


def define_flags(*groups: str) -> None:
    """Defines a flag for every setting of the groups ("data", "features", "training"), and --recipe with all of them."""
    define: dict[str, Callable[..., Any]] = {
        "str": flags.DEFINE_string,
        "bool": flags.DEFINE_bool,
        "int": flags.DEFINE_integer,
        "float": flags.DEFINE_float,
        "float | None": flags.DEFINE_float,
        "tuple[str, ...]": flags.DEFINE_list,
    }
    if {"data", "features", "training"} <= set(groups):
        flags.DEFINE_enum(
            "recipe",
            None,
            recipe_names(),
            "Flags that belong together, by name; those that are given beside it override.",
        )
    for field in dataclasses.fields(Settings):
        if field.metadata["group"] not in groups:
            continue
        default: Any = field.default
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, default, field.metadata["choices"], field.metadata["help"])
        else:
            bounds = range_text(field).removeprefix("of ")
            help_text = field.metadata["help"] + f" Range: {bounds}." * bool(bounds)
            define[str(field.type)](field.name, default, help_text)


def settings_from_flags(flag_values: flags.FlagValues) -> Settings:
    """Makes settings of the parsed flags; a setting without a flag in this script keeps its default.

    Raises:
        ValueError: a value is out of range, flags contradict each other, or a package that they require is missing.
    """
    values: dict[str, Any] = {
        field.name: flag_values[field.name].value for field in dataclasses.fields(Settings) if field.name in flag_values
    }
    values["genres"] = tuple(genre.strip() for genre in values.get("genres") or () if genre.strip())
    if values.get("data_service") and not DECODERS[values["decoder"]].is_graph_native:
        if flag_values["decoder"].present:
            raise ValueError(
                f"expected --decoder={SERVICE_DECODER} with --data_service, received --decoder={values['decoder']}: only "
                "graph ops can be sent to other processes"
            )
        values["decoder"] = SERVICE_DECODER
    if values.get("data_service"):
        DECODERS[SERVICE_DECODER].check_package("--data_service", "leave --data_service out")
    elif "decoder" in values:
        name = values["decoder"]
        DECODERS[name].check_package(f"--decoder={name}", f"leave the default, --decoder={DEFAULT_DECODER}")
    return Settings(**values)


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
