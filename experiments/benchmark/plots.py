"""The pictures of a benchmark: the rate of each pipeline, and the cost of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.figures import plt, save_figure


def plot_throughput(names: Sequence[str], rates: Sequence[float], title: str, path: Path) -> None:
    """Draws a bar for each pipeline, with its rate beside it.

    Args:
        names: of the pipelines.
        rates: of the pipelines, in clips a second.
        title: above the plot.
        path: a PNG.
    """
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.4 * len(names)), layout="constrained")
    colours = ["0.6" if name.startswith("limit") else "C0" if name.startswith("ours") else "C1" for name in names]
    bars = axis.barh(names, rates, color=colours)
    axis.bar_label(bars, fmt="{:.0f}", padding=4)
    axis.invert_yaxis()
    axis.set(title=title, xlabel="clips a second")
    axis.set_xlim(0, max(rates) * 1.1)
    save_figure(figure, path)


def plot_stages(
    names: Sequence[str], cpu_ms: Sequence[float], cumulative: Sequence[float], title: str, path: Path
) -> None:
    """Draws what each stage costs alone, and the rate of the pipeline up to and including it.

    Args:
        names: of the stages, in order.
        cpu_ms: CPU time of each stage alone, in ms a clip.
        cumulative: rate of everything up to and including each stage, in clips a second.
        title: above the plot.
        path: a PNG.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.4 + 0.4 * len(names)), sharey=True, layout="constrained")
    for axis, values, label, form in (
        (axes[0], cpu_ms, "alone: CPU ms a clip", "{:.2f}"),
        (axes[1], cumulative, "so far: clips a second", "{:.0f}"),
    ):
        axis.bar_label(axis.barh(names, values, color="C0"), fmt=form, padding=4)
        axis.set(xlabel=label)
        axis.set_xlim(0, max(values) * 1.15)
    axes[0].invert_yaxis()
    figure.suptitle(title)
    save_figure(figure, path)
