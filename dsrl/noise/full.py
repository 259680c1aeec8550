"""Gives every slot of the chunk its own noise vector, so that the actor steers all that the sampler takes.

    w [B, T'·d]  ->  [B, T', d]  ->  (w, 0) [B, T', D]

The parametrisation of DSRL for diffusion policies (arXiv 2506.15799, sec. 4). With all dimensions, its prior is the
base policy's own noise.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from dsrl.noise._padding import checked_magnitude, checked_vectors, pad_with_zeros, standard_normal, steered_dims


class FullNoise:
    """Expands w in R^(T'·d), d = action_dims or D, slot after slot; dimensions beyond `action_dims` are 0."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Annotated[float, Gt(0)],
        action_dims: Annotated[int, Ge(1)] | None,
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        Raises ValueError where `action_dims` exceeds D or `magnitude` is not positive.
        """
        self.noise_shape = noise_shape
        self.magnitude = checked_magnitude(magnitude)
        self.dim = noise_shape[0] * steered_dims(noise_shape, action_dims)

    def expand(self, vectors: Tensor) -> Tensor:
        """Return the sampler's noise [B, T', D] of actor vectors [B, dim], a new tensor."""
        slots, dims = self.noise_shape
        return pad_with_zeros(checked_vectors(vectors, self.dim).reshape(len(vectors), slots, -1), dims)

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw N(0, I) vectors [num, dim], unclipped: random play of the policy in this parametrisation."""
        return standard_normal(num, self.dim, generator)
