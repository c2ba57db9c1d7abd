"""Texts in pictures: a font that has the characters, or squares, and no warnings."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from experiments import figures
from experiments.figures import drawable, plt, save_figure

ODD = ["林", "Музыка", "عربي", "😀", "한국어", "caf\udce9", "tab\tx", "Ro\u0301ck", "🎸\ufe0f", "$x^{"]


def test_odd_texts_are_drawn_without_a_warning(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure, axes = plt.subplots(layout="constrained")
        axes.bar(range(len(ODD)), 1)
        axes.set_xticks(range(len(ODD)), ODD, parse_math=False)
        axes.set_title("caf\udce9\x01 " + "".join(ODD), parse_math=False)
        figure.legend(axes.containers, ["ひらがな"])
        save_figure(figure, tmp_path / "odd.png")
    with Image.open(tmp_path / "odd.png") as image:
        assert np.asarray(image).std() > 10


def test_a_missing_character_is_a_square_and_others_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "_other_fonts", lambda: iter(()))
    assert drawable("Rock é Музыка") == ("Rock é Музыка", [])
    assert drawable("a林\udce9\n\x00b\ufe0f") == ("a□□\n□b", [])


def test_a_font_that_has_the_character_is_used():
    # STIX, which comes with matplotlib, has letters that DejaVu lacks.
    stix = next(font.fname for font in font_manager.fontManager.ttflist if font.name == "STIXGeneral")
    usual = font_manager.findfont(font_manager.FontProperties())
    only = min(figures._characters(stix) - figures._characters(usual))
    text, families = drawable(f"a{chr(only)}")
    assert text == f"a{chr(only)}" and len(families) > 1
    assert only in figures._characters(font_manager.findfont(font_manager.FontProperties(family=families[-1:])))
