"""Learning curves out of the CSV files that the published DSRL code leaves (github.com/ajwagen/dsrl).

Its `LoggingCallback` logs eval/reward over eval/timesteps to wandb, in control steps but for the warm-up, which it
counts in chunks; Stable-Baselines3's own logger writes progress.csv, which counts one step per chunk and world.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Columns:
    """Where a file has its curve, and how many control steps a unit of `x` is."""

    x: str
    y: str
    scale: float


@dataclass(frozen=True)
class Curve:
    """One seed: returns over control steps, in the order of the steps."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]


def known_columns(chunk: int) -> tuple[Columns, ...]:
    """What the published code writes, evaluations first; `chunk` control steps make one step of Stable-Baselines3."""
    return (
        Columns("eval/timesteps", "eval/reward", 1.0),
        Columns("time/total_timesteps", "eval/mean_reward", float(chunk)),
        Columns("train/timesteps", "train/ep_rew_mean", 1.0),
        Columns("time/total_timesteps", "rollout/ep_rew_mean", float(chunk)),
    )


def read_curves(path: Path, chunk: int, columns: Columns | None = None) -> list[Curve]:
    """The curves of one file: one, or one per run where a chart was exported with a column `<run> - <y>` for each.

    `columns` None takes the first of `known_columns` that the file has. Rows without both numbers are left out.

    Raises:
        ValueError: if the file lacks the columns, or they hold no number.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    asked = known_columns(chunk) if columns is None else (columns,)
    for one in asked:
        found = [name for name in names if name == one.y or name.endswith(f" - {one.y}")]
        if one.x in names and found:
            curves = [_curve(rows, one.x, name, one.scale) for name in found]
            if all(curve.xs for curve in curves):
                return curves
    wanted = " or ".join(f"{one.x} with {one.y}" for one in asked)
    raise ValueError(
        f"{path} has no numbers in {wanted}, only the columns {', '.join(names)}; name them by --x and --y"
    )


def _curve(rows: Sequence[Mapping[str, str]], x: str, y: str, scale: float) -> Curve:
    pairs = [(_number(row[x]) * scale, _number(row[y])) for row in rows]
    known = sorted(pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1]))
    return Curve(tuple(x for x, _ in known), tuple(y for _, y in known))


def _number(text: str | None) -> float:
    """NaN for what is no number: wandb leaves cells empty, or writes NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
