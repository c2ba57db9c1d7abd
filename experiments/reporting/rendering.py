"""How pages are made of templates: jinja2 escapes every value where it is written into the page."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

from experiments import __version__
from experiments.prediction.plots import as_time

TEMPLATES = Path(__file__).resolve().parent / "templates"
# Half characters (from file names that are not UTF-8) and control characters, which HTML cannot hold.
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def percent(share: float) -> str:
    """Returns a share as text, such as 86.7 %."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def as_date(moment: datetime.datetime) -> str:
    """Returns a day as text, such as 3 May 2026."""
    return f"{moment.day} {moment:%B %Y}"


def _as_text(value: object) -> object:
    """Returns a value as characters that HTML can hold; a template's own markup stays as it is."""
    return value if hasattr(value, "__html__") else _NOT_TEXT.sub("\ufffd", str(value))


def render_page(template: str, styles: tuple[str, ...], script: str, **values: Any) -> str:
    """Renders a page with its own style and script, of which the content security policy allows no other.

    Args:
        template: name of the page's template.
        styles: names of its style sheets.
        script: name of its script.
        **values: what the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_as_text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "percent": percent,
        "whole_percent": lambda share: f"{share:.0%}",
        "time": as_time,
        "date": as_date,
    }
    environment.filters |= filters
    code = (TEMPLATES / script).read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in styles),
        script=code,
        script_sha256=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(),
        version=__version__,
        today=datetime.datetime.now(),
        **values,
    )
