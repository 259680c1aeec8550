"""Slopes of decoded chunks by differences, with a step that fits the precision in which the policy computes.

    h = 8^(1/4) sqrt(ε)          ε: rounding of decoded actions, measured; J[:, j] = (f(w + h e_j) - f(w)) / h

A policy in float32 takes steps of `SMALLEST`. In bfloat16 a number near 1 moves by steps of 1/128, so that a smaller h
is lost or rounded to another one: then ε, and h, are larger. Step and measurement are those of Moré and Wild,
"Estimating derivatives of noisy simulations", ACM TOMS 38 (2012), and "Estimating computational noise", SIAM J. Sci.
Comput. 33 (2011), for second derivatives near 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]
"""Vectors [n, dim] at the states of rows (int64 [n]) of a batch -> flat actions [n, M], in spreads."""

SMALLEST, LARGEST = 1e-3, 0.1  # steps, in standard deviations of noise
SPACING = 0.01  # of the vectors from whose decoded actions rounding is measured
MOVED_AT_ONCE = 64  # vectors that are decoded together: each has a copy of the policy's context


def step_of(decode: Decode, start: Tensor, rows: Tensor) -> float:
    """Return the step for slopes of `decode` near vectors `start` [n, dim] of the states `rows` (int64 [n])."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(start.shape, generator=generator, dtype=start.dtype)
    decoded = torch.stack([decode(start + k * SPACING * direction, rows) for k in range(5)])
    rest = decoded.diff(n=4, dim=0).abs()  # a smooth part leaves next to nothing, rounding sqrt(70) of its size
    rounding = float(rest[rest > 0].median()) / (0.6745 * 70**0.5) if (rest > 0).any() else 0.0
    return float(min(max(8**0.25 * rounding**0.5, SMALLEST), LARGEST))


def slopes(decode: Decode, w: Tensor, rows: Tensor, decoded: Tensor, step: float) -> Tensor:
    """Return the derivatives [n, M, dim] at vectors w [n, dim], whose decoded actions are `decoded` [n, M]."""
    num, dim = w.shape
    parts = []
    for pairs in torch.split(torch.arange(num * dim), MOVED_AT_ONCE):
        row, number = pairs // dim, pairs % dim
        moved = w[row]
        moved[torch.arange(len(pairs)), number] += step
        parts.append((decode(moved, rows[row]) - decoded[row]) / step)
    return torch.cat(parts).view(num, dim, -1).mT
