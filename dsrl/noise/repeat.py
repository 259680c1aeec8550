"""Repeats one noise vector in all slots of the chunk: the smallest space in which a whole chunk can be steered.

    w [B, d]  ->  (w, 0) [B, D]  ->  the same row in every slot [B, T', D]

The parametrisation of DSRL for π0 (arXiv 2506.15799, app. on generalist policies). A policy trained on independent
noise per slot may succeed less often under repeated noise, so a run evaluates the base policy under both.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from dsrl.noise._padding import checked_magnitude, checked_vectors, pad_with_zeros, standard_normal, steered_dims


class RepeatNoise:
    """Expands w in R^d, d = action_dims or D, to all T' slots; dimensions beyond `action_dims` are 0."""

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
        self.dim = steered_dims(noise_shape, action_dims)

    def expand(self, vectors: Tensor) -> Tensor:
        """Return the sampler's noise [B, T', D] of actor vectors [B, dim], a new tensor."""
        slots, dims = self.noise_shape
        return pad_with_zeros(checked_vectors(vectors, self.dim), dims)[:, None, :].repeat(1, slots, 1)

    def sample_prior(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw N(0, I) vectors [num, dim], unclipped: random play of the policy in this parametrisation."""
        return standard_normal(num, self.dim, generator)
