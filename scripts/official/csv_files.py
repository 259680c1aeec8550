"""Reads learning curves from the CSV files of the published DSRL code (github.com/ajwagen/dsrl).

Its `LoggingCallback` logs eval/reward over eval/timesteps to wandb, in control steps except for the warm-up, which it
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
    """The columns of a curve, and the control steps per unit of `x`."""

    x: str
    y: str
    scale: float


@dataclass(frozen=True)
class Curve:
    """One seed: returns over control steps, in the order of the steps."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]


def known_columns(chunk: int) -> tuple[Columns, ...]:
    """Return the columns of the published code, evaluations first; Stable-Baselines3 counts `chunk` steps as one."""
    return (
        Columns("eval/timesteps", "eval/reward", 1.0),
        Columns("time/total_timesteps", "eval/mean_reward", float(chunk)),
        Columns("train/timesteps", "train/ep_rew_mean", 1.0),
        Columns("time/total_timesteps", "rollout/ep_rew_mean", float(chunk)),
    )


def read_curves(path: Path, chunk: int, columns: Columns | None = None) -> list[Curve]:
    """Return the curves of one file: one, or one per column `<run> - <y>` of an exported chart.

    `columns` None takes the first of `known_columns` that the file has. Rows without both numbers are left out.

    Raises:
        ValueError: if the file is no CSV file, lacks the columns, or has no number in them.
    """
    try:
        with path.open(newline="", errors="replace", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, OSError) as error:
        raise ValueError(f"{path} is no readable CSV file ({error}); name another") from error
    names = list(rows[0]) if rows else []
    candidates = known_columns(chunk) if columns is None else (columns,)
    for one in candidates:
        found = [name for name in names if name == one.y or name.endswith(f" - {one.y}")]
        if one.x in names and found:
            curves = [_curve(rows, one.x, name, one.scale) for name in found]
            if all(curve.xs for curve in curves):
                return curves
    wanted = " or ".join(f"{one.x} with {one.y}" for one in candidates)
    raise ValueError(
        f"{path} has no numbers in {wanted}, only the columns {', '.join(names)}; name them by --x and --y"
    )


def _curve(rows: Sequence[Mapping[str, str]], x: str, y: str, scale: float) -> Curve:
    pairs = [(_number(row[x]) * scale, _number(row[y])) for row in rows]
    known = sorted(pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1]))
    return Curve(tuple(x for x, _ in known), tuple(y for _, y in known))


def _number(text: str | None) -> float:
    """Return the number in a cell; NaN for other text: wandb leaves cells empty, or writes NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
