"""Defines the action space of the learner: noise within a bound, whose random samples are the base policy's noise."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class NoiseSpace(Box):  # type: ignore[misc]  # gymnasium is not followed
    """The box [-magnitude, magnitude]^dim whose samples are N(0, I), so that random play is the base policy.

    With `clips`, samples are clipped to the box, like the noise of an actor that is bounded by it.
    """

    def __init__(self, dim: int, magnitude: float) -> None:
        super().__init__(-magnitude, magnitude, (dim,), np.float32)
        self.clips = True

    def sample(self, mask: None = None, probability: None = None) -> Floats:
        """Draw one noise vector [dim]."""
        normal = self.np_random.standard_normal(self.shape)
        sample: Floats = (np.clip(normal, self.low, self.high) if self.clips else normal).astype(np.float32)
        return sample
