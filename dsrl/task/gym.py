"""Runs any gymnasium environment with flat observations and a box of actions as a batch of worlds in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import gymnasium
import numpy as np
from annotated_types import Ge
from gymnasium.spaces import Box

from dsrl.task._gym_worlds import GymWorlds, reports_success


class GymTask(GymWorlds):
    """Steps `num_envs` copies of one gymnasium id. Actions are in the environment's units.

    `success` is given where the environment's step info has `is_success` or `success`.
    """

    def __init__(
        self,
        id: str,
        num_envs: Annotated[int, Ge(1)],
        max_steps: Annotated[int, Ge(1)] | None,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """`max_steps` None keeps the time limit that `id` was registered with; `env_kwargs` go to gymnasium.make.

        Raises ValueError for an unknown id, for spaces that are not flat boxes and where there is no time limit.
        """
        envs = [_make(id, max_steps, env_kwargs or {}) for _ in range(num_envs)]
        observation_space, _ = _flat_boxes(id, envs[0])
        super().__init__(
            envs,
            state_dim=observation_space.shape[0],
            cameras={},
            max_steps=_time_limit(id, envs[0]),
            has_success=reports_success(_trial_info(envs[0])),
        )


def _make(id: str, max_steps: int | None, env_kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    if ":" in id:  # gymnasium would import the module before the colon, and a saved config may be untrusted
        raise ValueError(f"task.id={id!r} would import a module; type a registered id without a colon")
    try:
        return gymnasium.make(id, max_episode_steps=max_steps, **env_kwargs)
    except gymnasium.error.Error as error:
        raise ValueError(
            f"task.id={id!r} cannot be made by gymnasium ({error}); type a registered id such as Pendulum-v1"
        ) from error


def _flat_boxes(id: str, env: gymnasium.Env[Any, Any]) -> tuple[Box, Box]:
    for name in ("observation_space", "action_space"):
        space = getattr(env, name)
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise ValueError(
                f"task.id={id} has {name} {space} but task=gym needs a flat Box; type another id or wrap it"
            )
    return env.observation_space, env.action_space


def _time_limit(id: str, env: gymnasium.Env[Any, Any]) -> int:
    limit = env.spec.max_episode_steps if env.spec else None
    if limit is None:
        raise ValueError(
            f"task.max_steps=null but task.id={id} has no time limit; type a number, such as task.max_steps=1000"
        )
    return int(limit)


def _trial_info(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """Return the info of one trial step; the world is reset with a seed before it is used."""
    env.reset(seed=0)
    info: dict[str, Any]
    *_, info = env.step(np.clip(np.zeros_like(env.action_space.low), env.action_space.low, env.action_space.high))
    return info
