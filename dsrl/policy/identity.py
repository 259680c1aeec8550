"""A policy without weights whose noise is the action, for tests of the algorithm alone.

noise [B, 1, A] in [-1, 1]  ->  chunk [B, 1, A] in the task's action box
"""

from __future__ import annotations

from torch import Tensor

from dsrl.interfaces import BoundedActions, Encoding, Observation, Task


class IdentityPolicy:
    """Features are the state; the noise, clipped to [-1, 1], is scaled to the action box. One action per chunk."""

    def __init__(self, task: Task) -> None:
        """Take the action box of `task`; raises ValueError where the task has none."""
        if not isinstance(task, BoundedActions):
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
        """Return the state [B, S] as features, without context."""
        return Encoding(features=observation.state, context={})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Scale noise [B, 1, A] to a chunk [B, 1, A]."""
        chunk = self.low + (noise.clamp(-1.0, 1.0) + 1.0) * 0.5 * (self.high - self.low)
        return chunk.clamp(self.low, self.high)  # low + (high - low) may be rounded to more than high
