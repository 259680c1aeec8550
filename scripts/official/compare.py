"""Compares learning curves of the published DSRL code and of ours in one figure and one table.

    python -m scripts.official.compare --ours 'multirun/2026-01-31/12-00-00' --official 'wandb_export_*.csv'

`--ours` takes run folders of train.py (or globs), `--official` any number of CSV files of the published code:

    eval/timesteps, eval/reward                      its own evaluations: wandb's history, or the export of a chart
    time/total_timesteps, rollout/ep_rew_mean, …     Stable-Baselines3's progress.csv, which counts chunks (--chunk)
    --x NAME --y NAME                                any others; --scale brings x to control steps
    CSV#NAME                                         another column of returns over eval/timesteps, for one pattern

Both are optional and can be repeated, as LABEL=PATTERN, for several methods.
"""

from __future__ import annotations

import argparse
import glob
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts._options import Parser, ending_in_a_sentence, out_file, real, whole
from scripts.compare.plots import COLOURS, STYLE
from scripts.compare.run_files import DamagedError, is_number, read_json
from scripts.compare.runs import Run, gather
from scripts.compare.statistics import mean
from scripts.official.csv_files import Columns, Curve, read_curves

Curves = Mapping[str, Sequence[Curve]]  # label -> one curve per seed


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and draw the figure."""
    options = _options(arguments)
    with ending_in_a_sentence(ValueError):
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    """Raises ValueError where nothing can be compared."""
    runs = {label: gather([pattern]) for label, pattern in map(_labelled, options.ours)}
    curves = {label: [_curve(run) for run in found if run.curve] for label, found in runs.items()}
    columns = Columns(options.x, options.y, options.scale) if options.x else None
    for label, pattern in map(_labelled, options.official):
        name, _, returns = pattern.partition("#")
        wanted = Columns("eval/timesteps", returns, 1.0) if returns else columns
        curves[label] = [one for path in _files(name) for one in read_curves(path, options.chunk, wanted)]
    lacking = [label for label, found in curves.items() if not found]
    if lacking or not curves:
        raise ValueError(f"{lacking[0] if lacking else 'nothing'} has no evaluation yet; name runs or CSV files")
    base = base_returns([run for found in runs.values() for run in found])
    print("\n".join(table(curves, options.marks or _marks(curves))))
    if base:
        spread = f" ± {1.96 * np.std(base, ddof=1) / len(base) ** 0.5:.0f}" if len(base) > 1 else ""
        print(f"\nbase policy, unsteered: {np.mean(base):.0f}{spread} in {len(base)} test worlds")
    print("\n".join(_final(label, found) for label, found in runs.items()))
    plot(curves, float(np.mean(base)) if base else None, options.out, options.title)
    print(f"\n{options.out}")


def base_returns(runs: Sequence[Run]) -> list[float]:
    """Return returns of the unsteered policy, one per test world, from the first run that has a base.json.

    Raises DamagedError for a base.json without finite returns.
    """
    for run in runs:
        file = run.path / "base.json"
        if file.is_file():
            found: Any = read_json(file)
            for key in ("results", "base", "returns"):
                found = found.get(key) if isinstance(found, dict) else None
            if not isinstance(found, list) or not found or not all(map(is_number, found)):
                raise DamagedError(f"{file} is damaged: it has no finite returns")
            return found
    return []


def table(curves: Curves, marks: Sequence[float]) -> list[str]:
    """Return a Markdown table of the mean, least and greatest return over seeds at each mark.

    Curves are linear between their points; a cell is empty where no curve covers the mark.
    """
    lines = ["| control steps | " + " | ".join(f"{name} ({len(found)})" for name, found in curves.items()) + " |"]
    lines.append("|---" * (1 + len(curves)) + "|")
    for mark in marks:
        cells = [_cell(found, mark) for found in curves.values()]
        lines.append(f"| {mark:,.0f} | " + " | ".join(cells) + " |")
    return lines


def plot(curves: Curves, base: float | None, path: Path, title: str | None) -> None:
    """Draw one line per label, the mean over its seeds; seeds are thin, their range is shaded, the base is dashed."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.add_subplot(xlabel="control steps, warm-up included where it was counted", ylabel="mean return")
        for colour, (label, found) in zip(COLOURS * len(curves), curves.items(), strict=False):
            _draw_label(axes, label, found, colour)
        if base is not None:
            axes.axhline(base, color="black", linestyle="--", linewidth=1.2, label="base policy")
        axes.set_title(title or "")
        axes.legend(frameon=False)
        figure.savefig(path, dpi=110, facecolor="white")


def _draw_label(axes: Any, label: str, found: Sequence[Curve], colour: str) -> None:
    for one in found:
        axes.plot(one.xs, one.ys, color=colour, linewidth=0.7, alpha=0.4)
    begin, end = max(one.xs[0] for one in found), min(one.xs[-1] for one in found)
    grid = np.unique([x for one in found for x in one.xs if begin <= x <= end])
    values = np.array([np.interp(grid, one.xs, one.ys) for one in found])
    axes.plot(
        grid,
        values.mean(0),
        color=colour,
        linewidth=2,
        label=f"{label} ({len(found)} seed{'s' if len(found) > 1 else ''})",
    )
    axes.fill_between(grid, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)


def _cell(found: Sequence[Curve], mark: float) -> str:
    values = [float(np.interp(mark, one.xs, one.ys)) for one in found if one.xs[0] <= mark <= one.xs[-1]]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{np.mean(values):.0f} ({min(values):.0f} … {max(values):.0f})"


def _final(label: str, runs: Sequence[Run]) -> str:
    """Return a line with the test scores of the finished runs: mean, bootstrap interval, and every seed."""
    scores = [float(run.summary["steered"]["mean_return"]) for run in runs if run.state == "finished"]
    if not scores:
        return f"{label}: none of {len(runs)} runs has finished"
    estimate = mean({"": scores})
    interval = "" if estimate.interval is None else " ({:.0f} … {:.0f})".format(*estimate.interval)
    each = ", ".join(f"{score:.0f}" for score in scores)
    return f"{label}: {estimate.value:.0f}{interval} on the test worlds after training; seeds {each}"


def _marks(curves: Curves) -> list[float]:
    """Return five marks up to the end of the longest curve, rounded down to two digits."""
    end = max(one.xs[-1] for found in curves.values() for one in found)
    unit = 10.0 ** (math.floor(math.log10(max(end, 1.0))) - 1)
    return [end * i / 5 // unit * unit for i in range(1, 6)]


def _curve(run: Run) -> Curve:
    return Curve(tuple(point.env_steps for point in run.curve), tuple(point.mean_return for point in run.curve))


def _labelled(argument: str) -> tuple[str, str]:
    """Return label and pattern of `LABEL=PATTERN`; a pattern alone is its own label."""
    label, equals, pattern = argument.partition("=")
    return (label, pattern) if equals and "/" not in label else (argument, argument)


def _files(pattern: str) -> list[Path]:
    found = [Path(name) for name in sorted(glob.glob(pattern))]
    if not found:
        raise ValueError(f"--official {pattern} matches no file; type the path of a CSV file, or a quoted glob")
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.official.compare", description=__doc__)
    parser.add_argument("--ours", action="append", default=[], metavar="[LABEL=]RUNS")
    parser.add_argument("--official", action="append", default=[], metavar="[LABEL=]CSV[#NAME]")
    parser.add_argument("--out", type=out_file, default=Path("compare_official.png"), help="the figure")
    parser.add_argument("--title", help="title of the figure")
    parser.add_argument("--marks", type=real(0.0, 1e12), nargs="+", help="control steps of the table's rows")
    parser.add_argument("--chunk", type=whole(1, 1024), default=4,
                        help="control steps per step of Stable-Baselines3 (default 4)")  # fmt: skip
    parser.add_argument("--x", help="column of the CSV files with the steps")
    parser.add_argument("--y", help="column with the returns")
    parser.add_argument("--scale", type=real(0.0, 1e9, open_low=True), default=1.0,
                        help="control steps per unit of --x (default 1)")  # fmt: skip
    options = parser.parse_args(arguments)
    if (options.x is None) != (options.y is None):
        parser.error("--x and --y come together; name both columns")
    return options


if __name__ == "__main__":
    main()
