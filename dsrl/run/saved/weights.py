"""Loads the weights of a file into a built algorithm, or names the one that does not fit.

checkpoint of a run, or an exported policy  ->  algorithm, built by the config beside it
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsrl.foreign_json import first_line
from dsrl.run.saved.files import MIB
from dsrl.run.terminal.errors import user_errors
from dsrl.training.state_tensors import named_tensors, num_bytes

_LONGEST = 100  # characters of a key, which may come from anybody


def load_weights(algorithm: Any, state: Any, named: str) -> None:
    """Load the weights of a file, which may come from anybody and is `named`, into a built algorithm.

    Raises UserError where they do not fit it, or are not finite.
    """
    from dsrl.training.loop import check_finite

    with user_errors():
        check_bytes(named, state, algorithm)
        check_finite(state, f"{named}:")
        try:
            algorithm.load_state_dict(state)
        except (RuntimeError, KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            reason = _difference(state, algorithm.state_dict()) or first_line(error)
            raise ValueError(
                f"{named} does not fit the run's algorithm: {reason}; restore weights and config that one run wrote "
                "together, or train again"
            ) from error


def check_weights_size(file: Path, algorithm: Any) -> None:
    """Check a file of weights before it is read. Raises UserError where it is too large for a built algorithm."""
    with user_errors():
        _check_bytes(str(file), file.stat().st_size, algorithm)


def check_bytes(named: str, state: Any, algorithm: Any) -> None:
    """Check a state that is `named`. Raises ValueError where it is too large for a built algorithm."""
    _check_bytes(named, num_bytes(state), algorithm)


def _check_bytes(named: str, size: int, algorithm: Any) -> None:
    """Raise ValueError for more bytes than a saved algorithm has: weights, two moments of Adam for each, a header."""
    own = num_bytes(algorithm.state_dict())
    if size > 4 * own + MIB:
        raise ValueError(
            f"{named} does not fit the run's algorithm: it has {size / MIB:.1f} MiB, but {own / MIB:.1f} MiB by the "
            "config; restore weights and config that one run wrote together, or train again"
        )


def _difference(stored: Any, own: Any) -> str | None:
    """Return the first weight that is stored in another shape, is missing or is left over; None where all agree."""
    there, here = ({key: list(tensor.shape) for key, tensor in named_tensors(state)} for state in (stored, own))
    for key, shape in here.items():
        if key in there and there[key] != shape:
            return f"{key} has shape {there[key]} in the file, but {shape} by the config"
    for key in here:
        if key not in there:
            return f"{key} is not in the file"
    left = [key for key in stored if key not in own] if isinstance(stored, Mapping) else []
    return f"{str(left[0])[:_LONGEST]!r} is in the file, but not in the algorithm" if left else None
