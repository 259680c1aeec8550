"""Stands for the noise that a measurement chooses before training; until then it is the base policy's own, `full`.

train.py plays the base policy under its own noise and under smaller and smaller spaces, and builds what it has chosen:
`repeat`, `smooth`, `per_step` or `full` (see `dsrl.evaluation.noise_choice`).
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from dsrl.noise._steered import Magnitude
from dsrl.noise.full import FullNoise


class AutoNoise(FullNoise):
    """Full noise with the options of the measurement."""

    def __init__(
        self,
        noise_shape: tuple[int, int],
        magnitude: Magnitude,
        action_dims: Annotated[int, Ge(1)] | None,
        draws_per_world: Annotated[int, Ge(2), Le(1000)],
        largest_loss: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        """`noise_shape` (T', D) is the policy's; `magnitude` bounds |w|, in standard deviations of the prior.

        The measurement plays every noise twice in each validation world, up to `draws_per_world` times where that
        leaves doubt, and refuses those that lose more than the share `largest_loss` of the base policy's success.
        Raises ValueError where `action_dims` exceeds D or `magnitude` is not positive.
        """
        super().__init__(noise_shape, magnitude, action_dims)
        self.draws_per_world, self.largest_loss = draws_per_world, largest_loss
