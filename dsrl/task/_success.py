"""Reads from the info of an environment's step whether it succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsrl.task._truth import single, truth

SUCCESS_NAMES = ("is_success", "success")  # in the info of a step, the first that is there
_LONGEST = 100  # characters of a wrong value that a message repeats


class SuccessError(ValueError):
    """An environment reports a success that is neither true nor false, such as its progress."""


def reports_success(info: Mapping[str, Any]) -> bool:
    """Whether the info of a step has success, under any name in use."""
    return any(name in part for part in _parts(info) for name in SUCCESS_NAMES)


def succeeded(info: Mapping[str, Any], env: str) -> bool:
    """Whether the info of a step reports success; None is no success.

    Raises SuccessError, which begins with `env`, for a value that is neither bool nor 0 or 1, alone or in an array.
    """
    found = ((name, part[name]) for part in _parts(info) for name in SUCCESS_NAMES if name in part)
    name, value = next(found, ("", None))
    won = False if single(value) is None else truth(value)
    if won is not None:
        return won
    shown = " ".join(repr(value).split())[:_LONGEST]
    raise SuccessError(
        f"{env} reports {name}={shown} in its info but a success is true or false; report a bool from the environment"
    )


def _parts(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    final = info.get("final_info")  # of the last step of an episode, in some environments
    return [info, final] if isinstance(final, Mapping) else [info]
