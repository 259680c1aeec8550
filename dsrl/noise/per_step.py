"""Gives every executed control step its own noise vector; slots that are never executed are not steered.

    w [B, H·d]  ->  [B, H, d]  ->  the first H slots and d dimensions of [B, T', D], H = horizon

Slot t is the noise of action t of the chunk. With H = T' and all dimensions it is `full`. With fresh numbers elsewhere
its prior is the base policy's own noise, and the space is as large as the actions that are played.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from dsrl.noise._steered import SteeredNoise, Unsteered


class PerStepNoise(SteeredNoise):
    """Expands w in R^(H·d), H = horizon or T' and d = action_dims or D, slot after slot."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Annotated[float, Gt(0)],
        action_dims: Annotated[int, Ge(1)] | None,
        horizon: Annotated[int, Ge(1)] | None,
        unsteered: Unsteered,
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        Raises ValueError where `horizon` exceeds T', `action_dims` exceeds D or `magnitude` is not positive.
        """
        slots = noise_shape[0]
        steered = slots if horizon is None else horizon
        if not 1 <= steered <= slots:
            raise ValueError(
                f"horizon={horizon} but the policy's noise has {slots} slots; type 1 to {slots}, or null for all"
            )
        super().__init__(noise_shape, magnitude, action_dims, unsteered, num_vectors=steered, steered_slots=steered)

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the vectors [B, H, d] themselves."""
        return vectors
