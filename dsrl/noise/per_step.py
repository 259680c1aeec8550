"""Gives every executed control step its own noise vector; slots that are never executed are not steered.

    w [B, H·d]  ->  [B, H, d]  ->  slots f … f+H-1 and the first d dimensions of [B, T', D], H = horizon

Slot f + t is the noise of action t of the chunk; f is 0, except for policies that also denoise past actions. With
H = T' and all dimensions it is `full`. With fresh numbers elsewhere its prior is the base policy's own noise, and the
space is as large as the actions that are played.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor

from dsrl.noise._steered import Magnitude, SteeredNoise, Unsteered


class PerStepNoise(SteeredNoise):
    """Expands w in R^(H·d), d = action_dims or D, slot after slot."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Magnitude,
        action_dims: Annotated[int, Ge(1)] | None,
        horizon: Annotated[int, Ge(1)] | Literal["executed"] | None,
        unsteered: Unsteered,
        executed: range | None = None,
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        horizon: "executed" steers the slots `executed`, those of the actions that are executed; a number steers as many
        from slot 0 on, and None all T', as runs did before there was "executed".

        Raises ValueError for slots beyond T', where `action_dims` exceeds D or `magnitude` is not positive.
        """
        slots = _steered_slots(noise_shape[0], horizon, executed)
        super().__init__(noise_shape, magnitude, action_dims, unsteered, num_vectors=len(slots), steered_slots=slots)

    def rows(self, vectors: Tensor) -> Tensor:
        """Return the vectors [B, H, d] themselves."""
        return vectors


def _steered_slots(slots: int, horizon: int | str | None, executed: range | None) -> range:
    if horizon == "executed":
        if executed is None:
            raise ValueError("noise.horizon=executed but the executed slots are not given; give a range as `executed`")
        if not 0 <= executed.start < executed.stop <= slots:
            raise ValueError(
                f"noise=per_step needs one slot of noise for each executed action but slots {executed.start} to "
                f"{executed.stop - 1} are executed and the policy's noise has {slots}; choose another noise"
            )
        return executed
    steered = slots if horizon is None else int(horizon)
    if not 1 <= steered <= slots:
        raise ValueError(
            f"noise.horizon={horizon} but the policy's noise has {slots} slots; type 1 to {slots}, or null for all, or "
            "executed"
        )
    return range(steered)
