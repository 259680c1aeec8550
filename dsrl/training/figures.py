"""Figures as metrics: means over updates, checked to be finite, and the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dsrl.training.metrics import Metrics


def checked_means(stats: Sequence[Any], gradient_steps: int) -> Metrics:
    """The mean of each figure over some updates: one wait for the device, however many there were.

    Raises FloatingPointError naming the first that is not finite.
    """
    rows = [one.get_loss_stats_dict() for one in stats]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [[torch.as_tensor(row[name]) for row in rows if name in row] for name in names]
    means = torch.stack([torch.stack(column).mean() for column in columns])
    figures = dict(zip(names, means.tolist(), strict=True))
    for name, value in figures.items():
        if not np.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} after {gradient_steps} gradient steps; lower the learning rates or scale the reward"
            )
    return {f"learn/{name}": value for name, value in figures.items()}


def numbers(summary: Mapping[str, Any]) -> Metrics:
    """Those figures of an evaluation that are numbers, named as metrics."""
    numeric = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    return {f"eval/{name}": float(value) for name, value in numeric.items()}
