"""Loads the weights of a file into a built algorithm, or names the one that does not fit.

checkpoint of a run, or an exported policy  ->  algorithm, built by the config beside it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsrl.foreign_json import first_line
from dsrl.run.errors import user_errors

_LONGEST = 100  # characters of a key, which may come from anybody


def load_weights(algorithm: Any, state: Any, named: str) -> None:
    """Load the weights of a file, which may come from anybody and is `named`, into a built algorithm.

    Raises UserError where they do not fit it, or are not finite.
    """
    from dsrl.training.loop import check_finite

    with user_errors():
        check_finite(state, f"{named}:")
        try:
            algorithm.load_state_dict(state)
        except (RuntimeError, KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            reason = _difference(state, algorithm.state_dict()) or first_line(error)
            raise ValueError(
                f"{named} does not fit the run's algorithm: {reason}; restore weights and config that one run wrote "
                "together, or train again"
            ) from error


def _difference(stored: Any, own: Any) -> str | None:
    """Return the first weight that is stored in another shape, is missing or is left over; None where all agree."""
    there, here = dict(_shapes(stored)), dict(_shapes(own))
    for key, shape in here.items():
        if key in there and there[key] != shape:
            return f"{key} has shape {there[key]} in the file, but {shape} by the config"
    for key in here:
        if key not in there:
            return f"{key} is not in the file"
    left = [key for key in stored if key not in own] if isinstance(stored, Mapping) else []
    return f"{str(left[0])[:_LONGEST]!r} is in the file, but not in the algorithm" if left else None


def _shapes(node: Any, name: str = "") -> Iterator[tuple[str, list[int]]]:
    """Yield name and shape of every tensor in a state."""
    import torch

    if isinstance(node, torch.Tensor):
        yield name, list(node.shape)
    elif isinstance(node, Mapping | list | tuple):
        for key, part in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _shapes(part, f"{name}.{key}" if name else str(key))
