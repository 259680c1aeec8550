"""Repeats one noise vector in all slots of the chunk: the smallest space in which a whole chunk can be steered.

    w [B, d]  ->  (w, 0) [B, D]  ->  the same row in every slot [B, T', D]

The parametrisation of DSRL for π0 (arXiv 2506.15799, app. on generalist policies). A policy trained on independent
noise per slot may succeed less often under repeated noise, so a run evaluates the base policy under both.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from dsrl.noise._steered import Magnitude, SteeredNoise, Unsteered


class RepeatNoise(SteeredNoise):
    """Expands w in R^d, d = action_dims or D, to all T' slots."""

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
        super().__init__(noise_shape, magnitude, action_dims, unsteered, num_vectors=1)

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the vector [B, 1, d] that all slots take."""
        return vectors
