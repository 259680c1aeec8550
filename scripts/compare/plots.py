"""Plots a comparison: final scores with their intervals, and learning curves over steps and over time."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal

from dsrl.run.saved.files import atomic_write
from scripts.compare.methods import Comparison, Method
from scripts.compare.runs import Run, point_at, score
from scripts.compare.statistics import curve, iqm, middle

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#666666")  # Okabe & Ito
LINES = ("-", "--", ":", "-.")  # of the methods that share a colour
LABELS = {"success_rate": "success rate", "mean_return": "mean return"}
NAME_WIDTH, TITLE_WIDTH = 36, 26  # characters of a line; so many capital Ws have room
LINE = 0.17  # inches of a line of a name
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "font.family": "sans-serif",
}


def _styled[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Apply STYLE while the axes are made."""

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> R:
        import matplotlib  # seconds to import

        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **options)

    return drawn


@_styled
def plot_scores(comparison: Comparison) -> Any:
    """Return a figure with one line per method: IQM, its interval, every seed as a dot, the base policy as a tick."""
    methods = sorted(comparison.methods, key=lambda method: middle(method.scores(comparison.measure)))
    names = [_wrapped(method.name, NAME_WIDTH) for method in methods]
    lines = max(name.count("\n") for name in names) + 1
    figure = _figure(8.0, 1.1 + max(0.55, LINE * (lines + 1)) * len(methods))
    axes = figure.add_subplot(xlabel=f"{LABELS[comparison.measure]} on the test worlds")
    for height, method in enumerate(methods):
        scores = method.scores(comparison.measure)
        estimate, colour = iqm(scores), _colour(comparison, method)
        if estimate.interval is not None:
            axes.plot(estimate.interval, [height] * 2, color=colour, linewidth=9, alpha=0.3, solid_capstyle="butt")
        seeds = [score for own in scores.values() for score in own]
        axes.plot(seeds, [height - 0.27] * len(seeds), ".", color=colour, alpha=0.6, markersize=6)
        axes.plot([estimate.value], [height], "|", color=colour, markersize=18, markeredgewidth=3)
        base = method.base(comparison.measure)
        if base is not None:
            axes.plot([base], [height], "|", color="black", markersize=18, markeredgewidth=1.5)
    axes.set_yticks(range(len(methods)), names)
    axes.set_ylim(-0.6, len(methods) - 0.4)
    axes.grid(visible=False, axis="y")
    if comparison.measure == "success_rate":
        axes.set_xlim(-0.02, 1.02)
    return figure


@_styled
def plot_curves(comparison: Comparison) -> Any | None:
    """Return a figure with a row per task: validations over environment steps and over time; None without any."""
    tasks = [task for task in comparison.tasks if _drawable(comparison, task)]
    if not tasks:
        return None
    height = 3.4 * len(tasks)
    figure = _figure(10.0, height)
    grid = figure.subplots(len(tasks), 2, squeeze=False, sharey="row")
    for row, task in zip(grid, tasks, strict=True):
        _curves(row[0], comparison, task, "env_steps")
        _curves(row[1], comparison, task, "wall_time_s")
        row[0].set(title=_wrapped(task, TITLE_WIDTH), xlabel="environment steps", ylabel=LABELS[comparison.measure])
        row[1].set(title=_wrapped(f"{task}, over time", TITLE_WIDTH), xlabel="minutes of training")
        if comparison.measure == "success_rate":
            row[0].set_ylim(-0.02, 1.02)
    figure.set_figheight(height + _legend(figure, comparison))
    return figure


def _legend(figure: Any, comparison: Comparison) -> float:
    """Name the methods of all panels below them, in as many columns as fit; returns the height in inches.

    Not every method was played on every task.
    """
    drawn = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes]
    handles = {label: handle for pairs in drawn for handle, label in pairs}
    names = [method.name for method in comparison.methods if method.name in handles]
    lines, labels = [handles[name] for name in names], [_wrapped(name, NAME_WIDTH) for name in names]
    style = {"loc": "outside lower center", "frameon": False, "handlelength": 4}  # dashes beside a marker need length
    for columns in (3, 2, 1):
        legend = figure.legend(lines, labels, ncols=columns, **style)
        box = legend.get_window_extent()
        if columns == 1 or box.width <= figure.bbox.width:
            break
        legend.remove()
    return float(box.height / figure.dpi)


def svg(figure: Any, name: str) -> str:
    """Return the figure as an `<svg>` element; `name` makes its ids unique in a page."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name, "svg.id": name}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    content = text.getvalue()
    return content[content.index("<svg") :]


def png(comparison: Comparison, path: Path) -> None:
    """Write all figures into one file, below each other."""
    import numpy as np
    from PIL import Image

    pictures = []
    for figure in (plot_scores(comparison), plot_curves(comparison)):
        if figure is not None:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=120, facecolor="white")
            pictures.append(np.asarray(Image.open(buffer).convert("RGB")))
    width = max(picture.shape[1] for picture in pictures)
    wide = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in pictures]
    whole = io.BytesIO()
    Image.fromarray(np.concatenate(wide)).save(whole, format="png")
    atomic_write(path, whole.getvalue())


def _wrapped(text: str, width: int) -> str:
    """Return the text for matplotlib in lines of at most `width` characters."""
    return "\n".join(map(_literal, textwrap.wrap(text, width, break_on_hyphens=False)))


def _literal(text: str) -> str:
    """Return the text for matplotlib, which would read $…$ as a formula."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _curves(axes: Any, comparison: Comparison, task: str, over: Literal["env_steps", "wall_time_s"]) -> None:
    for method in comparison.methods:
        colour, line = _colour(comparison, method), _line(comparison, method)
        drawn = [_xy(run, over, comparison.measure) for run in method.runs.get(task, ())]
        drawn = [xy for xy in drawn if xy[0]]
        for xs, ys in drawn:
            axes.plot(xs, ys, line, color=colour, linewidth=0.7, alpha=0.35)
        if not drawn:
            continue
        grid, estimates = curve([xs for xs, _ in drawn], [ys for _, ys in drawn])
        if all(one.interval for one in estimates):
            lows, highs = (
                zip(*(one.interval for one in estimates if one.interval), strict=True) if estimates else ((), ())
            )
            axes.fill_between(grid, lows, highs, color=colour, alpha=0.15, linewidth=0)
        marker = "o" if len(grid) < 20 else ""
        axes.plot(
            grid,
            [one.value for one in estimates],
            color=colour,
            linestyle=line,
            linewidth=2,
            marker=marker,
            label=method.name,
        )


def _xy(run: Run, over: str, measure: str) -> tuple[Sequence[float], Sequence[float]]:
    points = [(point_at(point, over), score(point, measure)) for point in run.curve]
    pairs = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _drawable(comparison: Comparison, task: str) -> bool:
    runs = [run for method in comparison.methods for run in method.runs.get(task, ())]
    return any(_xy(run, "env_steps", comparison.measure)[0] for run in runs)


def _colour(comparison: Comparison, method: Method) -> str:
    return COLOURS[comparison.methods.index(method) % len(COLOURS)]


def _line(comparison: Comparison, method: Method) -> str:
    return LINES[comparison.methods.index(method) // len(COLOURS) % len(LINES)]
