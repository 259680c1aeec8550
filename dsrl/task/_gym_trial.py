"""Finds out by a trial what an environment reports and repeats, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from dsrl.task import _gym_calls, _gym_state
from dsrl.task._gym_calls import RefusedError
from dsrl.task._gym_observations import ObservationParts
from dsrl.task._gym_packing import UnsupportedStateError
from dsrl.task._gym_repeats import TWICE, Moment, difference, moment
from dsrl.task._success import reports_success, succeeded

LONGEST = 1000  # control steps

Draw = Callable[[Box, np.random.Generator], NDArray[Any]]


class Trial(NamedTuple):
    """What a trial found."""

    has_success: bool  # whether one step, or else one episode, has success in its info
    unrepeated: str | None  # where two episodes of one seed and the same actions differ
    refusal: str | None  # how actions drawn from the action space made the environment fail


class _Episode(NamedTuple):
    has_success: bool
    moments: list[Moment]


def tried(env: gymnasium.Env[Any, Any], name: str, parts: ObservationParts) -> Trial:
    """Try `env`, which is left one step after seed 0.

    Raises ValueError, which begins with `name`: SuccessError for a success that is no bool, WorldError for a reset or
    a step that fails whatever the actions are, or that returns what no run can use.
    """
    has_success = _first_step(env, name, parts)
    try:
        state = _gym_state.state_dict(env)
    except UnsupportedStateError:
        state = None
    try:
        trial = _tried_twice(env, name, parts, _drawn, has_success)
    except RefusedError as error:  # perhaps at actions that no policy would ever choose
        trial = _tried_twice(env, name, parts, _still, has_success)._replace(refusal=error.reason)
    if state is None:
        _first_step(env, name, parts)  # its random generator, seeded again, is where it was
    else:
        _gym_state.load_state_dict(env, state)
    return trial


def _first_step(env: gymnasium.Env[Any, Any], name: str, parts: ObservationParts) -> bool:
    """Return whether the info of the first step of seed 0, as near to no action as can be, has success."""
    parts.check(_reset(env, name))
    observation, _, _, _, info = _step(env, name, _still(env.action_space, np.random.default_rng(0)))
    parts.check(observation)
    return _has_success(info, name)


def _tried_twice(
    env: gymnasium.Env[Any, Any], name: str, parts: ObservationParts, draw: Draw, has_success: bool
) -> Trial:
    """Play the first steps of seed 0 twice, the second time to the episode's end where no success is known yet."""
    first = _episode(env, name, parts, draw, TWICE)
    second = _episode(env, name, parts, draw, TWICE if has_success else LONGEST - TWICE)
    found = has_success or first.has_success or second.has_success
    return Trial(found, difference(first.moments, second.moments), None)


def _episode(env: gymnasium.Env[Any, Any], name: str, parts: ObservationParts, draw: Draw, longest: int) -> _Episode:
    """Act until success, the episode's end or `longest`: episodes in which nothing moves end at their limit alone."""
    moments, found = [moment(parts, _reset(env, name), 0.0)], False
    random = np.random.default_rng(0)  # drawing from the action space would advance the environment's own generator
    for count in range(longest):
        observation, reward, terminated, truncated, info = _step(env, name, draw(env.action_space, random))
        if count < TWICE:
            moments.append(moment(parts, observation, reward))
        found |= _has_success(info, name)
        if terminated or truncated or (found and count + 1 >= TWICE):
            break
    return _Episode(found, moments)


def _reset(env: gymnasium.Env[Any, Any], name: str) -> Any:
    with _gym_calls.trying(name, "reset"):
        return _gym_calls.reset(env, name, seed=0)


def _step(
    env: gymnasium.Env[Any, Any], name: str, action: NDArray[Any]
) -> tuple[Any, float, bool, bool, Mapping[str, Any]]:
    with _gym_calls.trying(name, "step"):
        observation, reward, *rest = _gym_calls.step(env, name, action)
        return observation, _gym_calls.finite(reward, name), *rest


def _has_success(info: Mapping[str, Any], name: str) -> bool:
    """Whether the info of a step has success. Raises SuccessError for one that no evaluation could count."""
    succeeded(info, name)
    return reports_success(info)


def _still(space: Box, random: np.random.Generator) -> NDArray[Any]:
    nearest: NDArray[Any] = np.clip(np.zeros_like(space.low), space.low, space.high)
    return nearest


def _drawn(space: Box, random: np.random.Generator) -> NDArray[Any]:
    bounded = space.bounded_below & space.bounded_above
    low, high = (np.where(bounded, end, one).astype(float) for end, one in ((space.low, -1.0), (space.high, 1.0)))
    share = random.random(space.shape)
    drawn = low * (1 - share) + high * share  # the width of a box may be more than its type holds
    whole = np.rint(drawn) if np.issubdtype(space.dtype, np.integer) else drawn
    action: NDArray[Any] = np.clip(whole, space.low, space.high).astype(space.dtype)
    return action
