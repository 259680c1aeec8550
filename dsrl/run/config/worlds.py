"""Numbers of worlds that judge: seeds below those that demonstrations come from and training draws."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

from annotated_types import Ge, Le

from dsrl.run.config import signatures

Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Episodes = Annotated[int, Ge(1), Le(1_000_000)]
FIRST_DEMONSTRATED = 2**29  # world of the collectors of demonstrations, up to those of training
EVALUATIONS = ("eval_episodes", "validation_episodes", "confirm_episodes")  # keys with numbers of their worlds


def at_most_once(episodes: int, num_worlds: int | None) -> int:
    """Return `episodes`, or the number of a task's worlds where that is less: consecutive seeds are all of them."""
    return episodes if num_worlds is None else min(episodes, num_worlds)


def check_below_training(key: str, worlds: range) -> None:
    """Raise ValueError where worlds, the first of which `key` names, are also of training or demonstrations."""
    first_drawn = signatures.constant("dsrl.noise_action_env", "FIRST_DRAWN_SEED")  # importing it loads torch
    for others, first in (("training worlds", first_drawn), ("worlds of demonstrations", FIRST_DEMONSTRATED)):
        if worlds.stop > first:
            raise ValueError(
                f"{key}={worlds.start} reaches into the {others}, which start at {first}; "
                f"type {key}={FIRST_DEMONSTRATED - len(worlds)} or less"
            )


def check_apart(named: Mapping[str, range]) -> None:
    """Raise ValueError where worlds, by the key of their first, overlap one another or those of training."""
    for (one, first), (other, second) in combinations(named.items(), 2):
        if shared_worlds(first, second):
            raise ValueError(f"{one}={first.start} and {other}={second.start} share worlds; move them further apart")
    for name, worlds in named.items():
        check_below_training(name, worlds)


def shared_worlds(one: range, other: range) -> int:
    """Return the number of worlds that are in both."""
    return len(range(max(one.start, other.start), min(one.stop, other.stop)))
