"""Noise is the action: a policy with nothing to steer, so that the algorithm alone is put to the test.

noise [B, 1, A] in [-1, 1]  ->  chunk [B, 1, A] in the task's action box
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dsrl.interfaces import Encoding, Observation


class BoundedTask(Protocol):
    """A task whose actions live in a box."""

    state_dim: int  # S
    action_low: Tensor  # [A]
    action_high: Tensor  # [A]


class IdentityPolicy:
    """Features are the state; the noise, clipped to [-1, 1], is scaled to the action box. One action per chunk."""

    def __init__(self, task: BoundedTask) -> None:
        """Takes the action box of `task`; raises ValueError where the task has none."""
        if not hasattr(task, "action_low") or not hasattr(task, "action_high"):
            raise ValueError(
                f"policy=identity needs a task with an action box but {type(task).__name__} has none; "
                "choose task=pendulum or task=gym, or a policy for this robot"
            )
        self.low, self.high = task.action_low, task.action_high
        action_dim = self.low.shape[0]
        self.feature_dim = task.state_dim
        self.noise_shape = (1, action_dim)
        self.chunk_shape = (1, action_dim)

    def encode(self, observation: Observation) -> Encoding:
        """The state [B, S] as features, and no context."""
        return Encoding(features=observation.state, context={})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """The chunk [B, 1, A] that noise [B, 1, A] names."""
        return self.low + (noise.clamp(-1.0, 1.0) + 1.0) * 0.5 * (self.high - self.low)
