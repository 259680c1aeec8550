"""A policy without weights whose noise is the action, for tests of the algorithm alone.

noise [B, 1, A] in [-1, 1]  ->  chunk [B, 1, A] in the task's action box
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsrl.interfaces import BoundedActions, Encoding, Observation, Task


class IdentityPolicy:
    """Features are the state; the noise, clipped to [-1, 1], is scaled to the action box. One action per chunk."""

    reads_instruction = False

    def __init__(self, task: Task) -> None:
        """Take the action box of `task`; raises ValueError where it is not finite or there is no state to see."""
        if not isinstance(task, BoundedActions):
            raise ValueError(
                f"policy=identity needs a task with an action box but {type(task).__name__} has none; "
                "choose task=pendulum or task=gym, or a policy for this robot"
            )
        _check_state(task)
        _check_box(task)
        self.low, self.high = task.action_low, task.action_high
        action_dim = self.low.shape[0]
        self.feature_dim = task.state_dim
        self.noise_shape = (1, action_dim)
        self.chunk_shape = (1, action_dim)

    def encode(self, observation: Observation) -> Encoding:
        """Return the state [B, S] as features, without context."""
        return Encoding(features=observation.state, context={})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Scale noise [B, 1, A] to a chunk [B, 1, A]."""
        chunk = self.low + (noise.clamp(-1.0, 1.0) + 1.0) * 0.5 * (self.high - self.low)
        return chunk.clamp(self.low, self.high)  # low + (high - low) may be rounded to more than high


def _check_state(task: Task) -> None:
    if task.state_dim == 0:
        if not task.cameras:
            raise ValueError(
                "policy=identity sees numbers but the task observes none at all; type a task or task.env_kwargs "
                "whose observations have some"
            )
        seen = ", ".join(task.cameras)
        raise ValueError(
            f"policy=identity sees numbers alone but the task observes none, only images ({seen}); type a task or "
            "task.env_kwargs with numbers, or a policy that sees images: policy=lerobot policy.path=<checkpoint>"
        )


def _check_box(task: BoundedActions) -> None:
    endless = ~torch.isfinite(task.action_high - task.action_low)
    if endless.any():
        number = int(endless.nonzero()[0])
        low, high = task.action_low[number].item(), task.action_high[number].item()
        raise ValueError(
            f"policy=identity scales noise to the action box but action {number} is between {low:g} and {high:g}; "
            "type a task, task.id or task.env_kwargs with finite bounds, or a policy with actions of its own"
        )
