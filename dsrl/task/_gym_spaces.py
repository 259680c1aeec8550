"""Reads the random generators of gymnasium's spaces: a space that is sampled in an episode is part of its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gymnasium.spaces import Space


def is_drawn(space: Space[Any]) -> bool:
    """Whether the space, or one inside it, has been seeded or sampled; bounds and shape alone never change."""
    return any(one._np_random is not None for one in parts(space))


def parts(space: Space[Any]) -> Iterator[Space[Any]]:
    """Return the space and all inside it (Dict, Tuple, Sequence, ...), each of which has a generator of its own."""
    yield space
    for value in vars(space).values():
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        for one in inside:
            if isinstance(one, Space):
                yield from parts(one)
