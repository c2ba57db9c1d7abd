"""What is shown of a training, against numbers written by hand; the picture shows a training of one epoch too."""

from matplotlib import pyplot as plt
from PIL import Image

from experiments.runs.curves import learning_curves
from experiments.training import plots

HISTORY = [
    {"epoch": 1.0, "loss": 2.0, "accuracy": 0.25, "val_loss": 1.5, "val_accuracy": 0.5, "seconds": 1.0},
    {"epoch": 2.0, "loss": 1.0, "accuracy": 0.5, "val_loss": 0.75, "val_accuracy": 0.625, "seconds": 1.0},
    {"epoch": 3.0, "loss": 0.5, "accuracy": 1.0, "val_loss": 0.75, "val_accuracy": 0.5, "seconds": 1.0},
]


def test_curves():
    shown = learning_curves(HISTORY)
    accuracy, loss = shown.curves
    assert shown.epochs == [1, 2, 3] and shown.epoch_range == (1, 3)
    assert shown.kept == 2, "of equally good epochs the first"
    assert (accuracy.training, accuracy.validation) == ([0.25, 0.5, 1.0], [0.5, 0.625, 0.5])
    assert (loss.training, loss.validation) == ([2.0, 1.0, 0.5], [1.5, 0.75, 0.75])
    assert 1 < accuracy.top < 1.1 and 2 < loss.top < 2.1
    assert learning_curves([HISTORY[0] | {"loss": float("inf")}]).curves[1].top < 1.6


def test_pictures(tmp_path, monkeypatch):
    figures = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (figures.append(figure), save(figure, path)))
    for name, rows in (("one", HISTORY[:1]), ("three", HISTORY)):
        plots.plot_curves(rows, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 400
    (left, _), (right, _) = (figure.axes for figure in figures)
    low, high = left.get_xlim()
    assert [tick for tick in left.get_xticks() if low <= tick <= high] == [1]
    assert [line.get_ydata().tolist() for line in right.lines[:2]] == [[0.25, 0.5, 1.0], [0.5, 0.625, 0.5]]
    assert not plt.get_fignums(), "figures are left open"
