"""Clones noise: the likelihood of recorded noise under the actor, before reinforcement learning.

L = -mean log N(atanh u; μ(s), σ(s)) / dim      that of u up to a constant, which no gradient has
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import TrainingStats
from torch import Tensor

LARGEST = 0.99  # |u| in the likelihood: noise that was clipped to the box has an infinite atanh


@dataclass(kw_only=True)
class CloningStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one step of cloning, still tensors."""

    cloning_loss: Tensor


def drawn_from(indices: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """Draw `num` of `indices` by torch's global generator."""
    drawn: NDArray[np.int64] = indices[torch.randint(len(indices), (num,)).numpy()]
    return drawn


def cloning_loss(mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Return L of Gaussians before tanh [n, dim] for recorded u [n, dim] in [-1, 1]."""
    raw = torch.atanh(noise.clamp(-LARGEST, LARGEST))
    return (0.5 * ((raw - mean) / log_std.exp()).square() + log_std).mean()
