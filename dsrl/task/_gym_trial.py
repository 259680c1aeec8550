"""Finds out by a trial whether an environment reports success, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from dsrl.task import _gym_state
from dsrl.task._gym_packing import UnsupportedStateError
from dsrl.task._success import reports_success, succeeded

LONGEST = 1000  # control steps


def trial_has_success(env: gymnasium.Env[Any, Any], name: str) -> bool:
    """Whether one step, or else one episode, has success in its info; `env` is left one step after seed 0.

    Raises what the first step raises, and SuccessError, which begins with `name`, for a success that is no bool.
    """
    if _has_success(_first_info(env), name):
        return True
    try:
        state = _gym_state.state_dict(env)
    except UnsupportedStateError:
        state = None
    found = _episode_has_success(env, name)
    if state is None:
        _first_info(env)  # its random generator, seeded again, is where it was
    else:
        _gym_state.load_state_dict(env, state)
    return found


def _first_info(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    env.reset(seed=0)
    info: dict[str, Any]
    *_, info = env.step(np.clip(np.zeros_like(env.action_space.low), env.action_space.low, env.action_space.high))
    return info


def _episode_has_success(env: gymnasium.Env[Any, Any], name: str) -> bool:
    """Act at random: many episodes in which nothing moves end at their time limit alone."""
    env.reset(seed=0)
    random = np.random.default_rng(0)  # drawing from the action space would advance the environment's own generator
    for _ in range(LONGEST):
        try:
            *_, terminated, truncated, info = env.step(_drawn(env.action_space, random))
        except Exception:  # of any simulator, at actions that no policy may ever choose
            return False
        if _has_success(info, name):
            return True
        if terminated or truncated:
            return False
    return False


def _has_success(info: Mapping[str, Any], name: str) -> bool:
    """Whether the info of a step has success. Raises SuccessError for one that no evaluation could count."""
    succeeded(info, name)
    return reports_success(info)


def _drawn(space: Box, random: np.random.Generator) -> NDArray[Any]:
    bounded = space.bounded_below & space.bounded_above
    low, high = np.where(bounded, space.low, -1.0), np.where(bounded, space.high, 1.0)
    drawn = low + random.random(space.shape) * (high - low)
    whole = np.rint(drawn) if np.issubdtype(space.dtype, np.integer) else drawn
    action: NDArray[Any] = np.clip(whole, space.low, space.high).astype(space.dtype)
    return action
