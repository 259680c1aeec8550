"""Gives every slot of the chunk its own noise vector, so that the actor steers all that the sampler takes.

    w [B, T'·d]  ->  [B, T', d]  ->  (w, 0) [B, T', D]

The parametrisation of DSRL for diffusion policies (arXiv 2506.15799, sec. 4). With all dimensions, its prior is the
base policy's own noise.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from dsrl.noise._steered import Magnitude, SteeredNoise, Unsteered


class FullNoise(SteeredNoise):
    """Expands w in R^(T'·d), d = action_dims or D, slot after slot."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Magnitude,
        action_dims: Annotated[int, Ge(1)] | None,
        unsteered: Unsteered = "zero",  # configs of earlier runs lack it
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        What is not steered is 0, or N(0, 1) drawn in every decision for `unsteered` "fresh". Raises ValueError where
        `action_dims` exceeds D or `magnitude` is not positive.
        """
        super().__init__(noise_shape, magnitude, action_dims, unsteered, num_vectors=noise_shape[0])

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the vectors [B, T', d] themselves."""
        return vectors
