"""A few noise vectors at equal distances along the chunk, and straight lines between them.

w [B, knots·D]  ->  [B, knots, D]  ->  interpolated over the slots  ->  [B, T', D]
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional

from dsrl.noise._padding import checked_magnitude, checked_vectors


class KnotNoise:
    """Between `repeat` (one vector) and `full` (one vector per slot): noise that changes slowly along the chunk.

    Between two knots it is smaller than the prior: its standard deviation is 1 at the knots and 0.71 half-way. Noise to
    work with divides by that, as `noise=smooth` does, because the policy was trained on N(0, 1) in every slot.
    """

    def __init__(
        self, noise_shape: tuple[int, int], magnitude: Annotated[float, Gt(0)], knots: Annotated[int, Ge(2)]
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        Raises ValueError unless 2 <= knots <= T' and magnitude > 0.
        """
        slots, dims = noise_shape
        if not 2 <= knots <= slots:
            raise ValueError(f"noise.knots={knots} does not fit the policy's {slots} slots; choose 2 to {slots}")
        self.noise_shape, self.knots = noise_shape, knots
        self.magnitude = checked_magnitude(magnitude)
        self.dim = knots * dims

    def expand(self, vectors: Tensor) -> Tensor:
        """Returns the sampler's noise [B, T', D] of actor vectors [B, dim]; a new tensor."""
        slots, dims = self.noise_shape
        knots = checked_vectors(vectors, self.dim).view(-1, self.knots, dims).transpose(1, 2)  # [B, D, knots]
        return functional.interpolate(knots, slots, mode="linear", align_corners=True).transpose(1, 2).contiguous()

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Returns N(0, I) vectors [num, dim], unclipped."""
        return torch.randn(num, self.dim, generator=generator)
