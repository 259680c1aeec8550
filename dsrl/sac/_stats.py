"""What one update of an actor-critic reports."""

from __future__ import annotations

from dataclasses import dataclass

from tianshou.algorithm.algorithm_base import TrainingStats
from torch import Tensor


@dataclass(kw_only=True)
class SACStats(TrainingStats):  # type: ignore[misc]  # tianshou is not followed
    """Scalars of one update, still tensors: converting them would wait for the device."""

    critic_loss: Tensor
    q: Tensor
    actor_loss: Tensor | None = None
    entropy: Tensor | None = None  # of u, in nats
    penalty: Tensor | None = None  # of the regulariser
    alpha: Tensor | None = None
    alpha_loss: Tensor | None = None
