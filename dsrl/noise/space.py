"""The space that the actor's noise lives in: where its bound lies, and how the frozen policy itself would draw."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]


class Noise(Protocol):
    """How the actor's vector becomes the sampler's initial noise."""

    dim: int
    magnitude: float

    def expand(self, vectors: Tensor) -> Tensor:
        """The sampler's noise [B, T', D] of actor vectors [B, dim]; a new tensor."""

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """N(0, I) vectors [num, dim], unclipped."""


class NoiseSpace(Box):  # type: ignore[misc]  # gymnasium is not followed
    """The box [-magnitude, magnitude]^dim whose samples are N(0, I): random play is the base policy.

    `clips` says whether samples are clipped to the box, as the noise of an actor that cannot leave it.
    """

    def __init__(self, dim: int, magnitude: float) -> None:
        super().__init__(-magnitude, magnitude, (dim,), np.float32)
        self.clips = True

    def sample(self, mask: None = None, probability: None = None) -> Floats:
        """One noise vector [dim]."""
        normal = self.np_random.standard_normal(self.shape)
        sample: Floats = (np.clip(normal, self.low, self.high) if self.clips else normal).astype(np.float32)
        return sample
