"""A policy that drives to the dock and drifts to the right of it; its noise is added to its actions."""

from __future__ import annotations

import hashlib
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from dsrl.interfaces import Encoding, Observation

DRIFT = 0.4


class Drift:
    """A frozen policy with a noise of the size of its chunks [T, 2]."""

    feature_dim = 4

    def __init__(self, chunk: Annotated[int, Ge(1)]) -> None:
        self.noise_shape = self.chunk_shape = (chunk, 2)

    def encode(self, observation: Observation) -> Encoding:
        """Return the state as features."""
        return Encoding(observation.state, {})

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        """Return noisy velocities towards a place beside the dock."""
        velocity = 2 * (encoding.features[:, 2:] - encoding.features[:, :2])
        velocity[:, 0] += DRIFT
        return (velocity[:, None] + 0.5 * noise).clamp(-1, 1)

    def policy_sha256(self) -> str:
        """Return a digest of its only weight."""
        return hashlib.sha256(str(DRIFT).encode()).hexdigest()
