"""Numbers of worlds that judge: seeds below those that training draws."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from dsrl.run import signatures

Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Episodes = Annotated[int, Ge(1), Le(1_000_000)]


def check_below_training(key: str, worlds: range) -> None:
    """Raise ValueError where worlds, the first of which `key` names, are also of training."""
    first_drawn = signatures.constant("dsrl.noise_action_env", "FIRST_DRAWN_SEED")  # importing it loads torch
    if worlds.stop > first_drawn:
        raise ValueError(
            f"{key}={worlds.start} reaches into the training worlds, which start at {first_drawn}; choose a smaller one"
        )
