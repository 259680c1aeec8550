"""Clones noise: the likelihood of recorded noise under the actor, before reinforcement learning.

L = -mean log N(atanh u; μ(s), σ(s)) / dim      that of u up to a constant, which no gradient has
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tianshou.algorithm.algorithm_base import TrainingStats
from tianshou.data import ReplayBuffer
from torch import Tensor

from dsrl.sac._noise_policy import LARGEST, NoisePolicy


@dataclass(kw_only=True)
class CloningStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one step of cloning, still tensors."""

    cloning_loss: Tensor


def cloning_step(
    policy: NoisePolicy, optimiser: Any, buffer: ReplayBuffer, indices: NDArray[np.int64], batch_size: int
) -> CloningStats:
    """Take one step of the actor on a batch of transitions `indices`, drawn by torch's global generator."""
    rows = indices[torch.randint(len(indices), (batch_size,)).numpy()]
    mean, log_std = policy.actor(policy.standardise(buffer.obs[rows]))
    loss = cloning_loss(mean, log_std, torch.as_tensor(buffer.act[rows], dtype=torch.float32).to(mean.device))
    optimiser.step(loss)
    return CloningStats(cloning_loss=loss.detach())


def cloning_loss(mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Return L of Gaussians before tanh [n, dim] for recorded u [n, dim] in [-1, 1]."""
    raw = torch.atanh(noise.clamp(-LARGEST, LARGEST))
    return (0.5 * ((raw - mean) / log_std.exp()).square() + log_std).mean()
