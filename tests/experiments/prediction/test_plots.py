"""What is shown of a file over time: which labels, in which colours, stacked how, and under which times."""

import re

import numpy as np
import pytest

from experiments.prediction import plots
from experiments.prediction.plots import MAX_SHOWN, OTHERS_COLOUR, as_time, plot_timeline, shown_classes, timeline

LABELS = [f"label {i}" for i in range(12)]


def test_a_stack_of_few_labels():
    windows = np.array([[0.5, 0.25, 0.25], [0.125, 0.25, 0.625]])
    shown = timeline(np.array([0.0, 4.0, 7.5]), windows, ["a", "b", "c"])
    assert [band.name for band in shown.bands] == ["a", "b", "c"]
    assert [band.bottom.tolist() for band in shown.bands] == [[0, 0], [0.5, 0.125], [0.75, 0.375]]
    assert [band.top.tolist() for band in shown.bands] == [[0.5, 0.125], [0.75, 0.375], [1, 1]]
    assert shown.leaders == [(0.0, "a"), (4.0, "c")]


def test_of_many_labels_the_rest_is_grey_on_top(rng):
    windows = rng.dirichlet([*np.full(4, 0.1), *np.full(8, 5.0)], 20)
    *bands, others = timeline(np.arange(21.0), windows, LABELS).bands
    order = sorted(range(12), key=lambda i: windows[:, i].mean(), reverse=True)
    assert [band.name for band in bands] == [LABELS[i] for i in sorted(order[:MAX_SHOWN])]
    assert (others.name, others.colour) == ("3 others", OTHERS_COLOUR)
    np.testing.assert_allclose(others.top - others.bottom, windows[:, order[MAX_SHOWN:]].sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(others.top, 1)


def test_independent_probabilities_all_begin_at_zero():
    shown = timeline(np.arange(4.0), np.full((3, 12), 0.9), LABELS, stacked=False)
    assert len(shown.bands) == MAX_SHOWN and not any(band.bottom.any() for band in shown.bands)
    assert all(band.top.tolist() == [0.9] * 3 for band in shown.bands)


@pytest.mark.parametrize("count", [2, 10, 40])
def test_colours_are_told_apart(count: int, rng):
    for _ in range(20):
        chosen = shown_classes(rng.random(count))
        assert len(chosen) == len({*chosen.values(), OTHERS_COLOUR}) - 1 == min(count, MAX_SHOWN)
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in chosen.values())


def test_a_class_keeps_its_colour():
    some = [shown_classes(np.roll(np.arange(10.0), shift)) for shift in range(10)]
    for i in range(10):
        assert len({chosen[i] for chosen in some if i in chosen}) == 1


@pytest.mark.parametrize(
    ("seconds", "marks"),
    [
        (1.3, ["0:00", "0:01"]),
        (29.98, ["0:00", "0:05", "0:10", "0:15", "0:20", "0:25"]),
        (600, [f"{i}:00" for i in range(11)]),
    ],
)
def test_the_picture_names_round_times(seconds: float, marks: list[str], tmp_path, monkeypatch):
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    plot_timeline(np.array([0, seconds]), np.array([[0.4, 0.6]]), ["a", "b"], "x", tmp_path / "t.png")
    assert [text.get_text() for text in figures[0].axes[0].get_xticklabels()] == marks
    assert (tmp_path / "t.png").stat().st_size > 5000


def test_times():
    assert [as_time(seconds) for seconds in (0, 59.99, 60, 3725)] == ["0:00", "0:59", "1:00", "62:05"]
