"""Calls reset and step of a gymnasium environment, and names what it raises or returns that no run can use.

reset, step   raise WorldError for an exit of the program, and for what no run can use
playing       in a run: what an environment raises becomes a FailedError, with the call that raised it
trying        in a trial, before anything is played: the same, with the interface that the environment may have broken
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from torch import Tensor

from dsrl.task._truth import single, truth

_LONGEST = 300  # characters of what was raised, or of a wrong value, that a message repeats
_LARGEST = float(np.finfo(np.float32).max)
_EXPECTED = {  # call -> what gymnasium has it take and return
    "reset": "reset(seed=…) without options, which returns (observation, info)",
    "step": "step(action), which returns (observation, reward, terminated, truncated, info)",
}


class WorldError(ValueError):
    """An environment ends the program, or returns what no run can use."""


class FailedError(RuntimeError):
    """An environment raised an error of its own in a run: no ValueError, which would blame what was typed or saved."""


class RefusedError(WorldError):
    """An environment failed in a trial, perhaps by its actions alone; `reason` is the call and what was wrong."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RaisedError(RefusedError):
    """An environment raised an error of its own in a trial; `reason` is the call, type, text and place."""


def reset(env: gymnasium.Env[Any, Any], name: str, seed: int | None) -> Any:
    """Start the episode of `seed`; returns the observation.

    Raises WorldError, which begins with `name`, where the environment exits or returns anything but gymnasium's pair.
    """
    with naming_exit(name, "reset"):
        found = env.reset(seed=seed)
    return _checked(found, name, "reset", 2)[0]


def step(env: gymnasium.Env[Any, Any], name: str, action: Any) -> tuple[Any, float, bool, bool, Mapping[str, Any]]:
    """Advance by one control step; returns observation, reward, terminated, truncated and info.

    Raises WorldError, which begins with `name`, where the environment exits, returns anything but gymnasium's five
    values, or has a reward that is no number or an end that is neither true nor false.
    """
    with naming_exit(name, "step"):
        found = env.step(action)
    observation, paid, terminated, truncated, info = _checked(found, name, "step", 5)
    ends = ending(terminated, name, "terminated"), ending(truncated, name, "truncated")
    return observation, number(paid, name), *ends, info


def number(reward: Any, name: str) -> float:
    """Return a reward, which may be an array of one number. Raises WorldError, which begins with `name`, for others.

    A finite one beyond float32 is refused here, since it would be no number any more in a batch of rewards. One that is
    not finite is refused where it is played, with its worlds, and in a trial by `finite`.
    """
    value = single(reward)
    if isinstance(value, SupportsFloat) and not isinstance(value, np.ndarray | Tensor):
        paid = float(value)
        if math.isfinite(paid) and abs(paid) > _LARGEST:
            raise WorldError(
                f"{name} returned the reward {paid:g} in its step, which is not finite in float32 (at most "
                f"{_LARGEST:.2g}); check the reward of the task's environment"
            )
        return paid
    raise WorldError(
        f"{name} returned the reward {_short(repr(reward))} of type {type(reward).__name__} in its step but a reward "
        "is a number; return a float from the environment"
    )


def finite(reward: float, name: str) -> float:
    """Return a reward of a trial. Raises RefusedError, which begins with `name`, for NaN or infinity."""
    if not math.isfinite(reward):
        raise RefusedError(
            f"{name} returned the reward {reward} in its step, which is not finite; check the reward of the task's "
            "environment",
            f"step: the reward {reward} is not finite",
        )
    return reward


def ending(value: Any, name: str, flag: str) -> bool:
    """Return the `flag` of a step, which may be 0 or 1 or an array of one. Raises WorldError for anything else."""
    ended = truth(value)
    if ended is None:
        raise WorldError(
            f"{name} returned {flag}={_short(repr(value))} of type {type(value).__name__} in its step but {flag} is "
            "true or false; return a bool from the environment"
        )
    return ended


@contextmanager
def naming_exit(name: str, call: str) -> Iterator[None]:
    """Raise WorldError for an exit of the program, as wrappers of simulators make it: the run would just end."""
    try:
        yield
    except SystemExit as error:
        raise WorldError(
            f"{name} ended the program in {call} ({_raised(error)}); let the environment raise what went wrong, "
            "or end the episode"
        ) from error


@contextmanager
def playing(name: str, call: str) -> Iterator[None]:
    """Raise FailedError, which begins with `name`, for what it raises in `call`, but for errors of the system."""
    try:
        yield
    except (WorldError, ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system refused a file
            raise
        raise FailedError(f"{name} raised in {call} ({_raised(error)}); correct the environment") from error


@contextmanager
def trying(name: str, call: str) -> Iterator[None]:
    """Raise RaisedError, which begins with `name`, for what an environment raises in `call`, of any simulator."""
    try:
        yield
    except (WorldError, ImportError, gymnasium.error.DependencyNotInstalled):
        raise
    except Exception as error:
        raise RaisedError(
            f"{name} raised in {call} ({_raised(error)}); task=gym calls {_EXPECTED[call]}: correct the environment, "
            "or register a wrapper that has these",
            f"{call}: {_raised(error)}",
        ) from error


def _checked(found: Any, name: str, call: str, length: int) -> Any:
    if isinstance(found, tuple) and len(found) == length and isinstance(found[-1], Mapping):
        return found
    shown = f"{len(found)} values" if isinstance(found, tuple) else f"one {type(found).__name__}"
    if isinstance(found, tuple) and len(found) == length:
        shown = f"an info of type {type(found[-1]).__name__}"
    raise WorldError(
        f"{name} returned {shown} in {call}; task=gym calls {_EXPECTED[call]}: correct the environment, or register a "
        "wrapper that has these"
    )


def _raised(error: BaseException) -> str:
    """Return type, text and place of an error on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    while isinstance(error, SystemExit) and len(frames) > 1 and frames[-1].name == "exit":
        frames.pop()  # what hooks sys.exit, such as wandb
    place = f", {'/'.join(Path(frames[-1].filename).parts[-2:])} line {frames[-1].lineno}" if frames else ""
    return f"{_short(f'{type(error).__name__} {error}')}{place}"


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
