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
        limit: the largest number that is taken for meant, where any that makes sense may be chosen. More is a slip, such
            as a digit too many, which would fill the memory or take for ever. It is named only when it is exceeded.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    limit: float | None = None

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

    def unmet(self, value: float) -> str:
        """What is expected, in words such as "of at least 1", if a number does not fit; otherwise ""."""
        if not -math.inf < value < math.inf:
            return f"as a finite number {self}".rstrip()
        if value not in self:
            return str(self)
        return f"of at most {self.limit}" if self.limit is not None and value > self.limit else ""


def setting(
    default: Any,
    group: str,
    help_text: str,
    choices: tuple[str, ...] = (),
    is_path: bool = False,
    **bounds: float,
) -> Any:
    """Declares a field of `Settings`.

    Args:
        default: its value where none is given.
        group: "data", "features" or "training": scripts define the flags of a group together.
        help_text: of its flag.
        choices: the texts that it may have; empty: any.
        is_path: whether it is the path of a file or folder.
        **bounds: of the numbers that it may have, as in `Range`.
    """
    metadata = {
        "group": group,
        "help": help_text,
        "choices": choices,
        "is_path": is_path,
        "range": Range(**bounds),
    }
    return dataclasses.field(default=default, metadata=metadata)


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
    return field.metadata["range"].unmet(value)
