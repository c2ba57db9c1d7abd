"""How a setting is declared: its default, its help, and the values that it may have, which are checked in one place."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; every number has to be finite.

    Attributes:
        minimum: the smallest of them.
        maximum: the largest of them.
        above: a bound that they are larger than.
        below: a bound that they are smaller than.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"between {self.minimum} and {self.maximum}"
        words = {"minimum": "of at least", "maximum": "of at most", "above": "above", "below": "below"}
        bounds = ((word, getattr(self, name)) for name, word in words.items())
        return " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)

    def __contains__(self, value: float) -> bool:
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def setting(default: Any, group: str, help_text: str, choices: tuple[str, ...] = (), **bounds: float) -> Any:
    """Declares a field of `Settings`.

    Args:
        default: its value where none is given.
        group: "data", "features" or "training": scripts define the flags of a group together.
        help_text: of its flag.
        choices: the texts that it may have; empty: any.
        **bounds: of the numbers that it may have, as in `Range`.
    """
    metadata = {"group": group, "help": help_text, "choices": choices, "range": Range(**bounds)}
    return dataclasses.field(default=default, metadata=metadata)


def range_text(field: dataclasses.Field) -> str:
    """The range of a setting in words, such as "of at least 1"; "" if it has none."""
    return str(field.metadata["range"])


def unmet(field: dataclasses.Field, value: Any) -> str:
    """What a setting expects, in words such as "of at least 1", if a value does not fit it; otherwise ""."""
    kind, _, optional = str(field.type).partition(" | ")
    if value is None and optional:
        return ""
    if kind == "tuple[str, ...]":
        fits = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    else:
        fits = isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if choices := field.metadata["choices"]:
        return "" if fits and value in choices else f"as one of {', '.join(choices)}"
    if not fits:
        return f"as {field.type}"
    if kind not in ("int", "float"):
        return ""
    bounds = field.metadata["range"]
    if isinstance(value, float) and not math.isfinite(value):
        return f"as a finite number {bounds}".rstrip()
    return "" if value in bounds else str(bounds)
