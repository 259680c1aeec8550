"""Runs any gymnasium environment with flat observations and a box of actions as a batch of worlds in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from annotated_types import Ge
from gymnasium.spaces import Box
from torch import Tensor

from dsrl.interfaces import Observation, Step
from dsrl.task import _gym_state


class GymTask:
    """Steps `num_envs` copies of one gymnasium id, one after the other.

    A world that has ended is not stepped and has reward 0 until it is reset. Actions are in the environment's units.
    `success` is given where the environment's step info has `is_success`.
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
        self._envs = [_make(id, max_steps, env_kwargs or {}) for _ in range(num_envs)]
        first = self._envs[0]
        observation_space, action_space = _flat_boxes(id, first)
        self.num_envs = num_envs
        self.state_dim = observation_space.shape[0]
        self.action_dim = action_space.shape[0]
        self.action_low = torch.as_tensor(action_space.low, dtype=torch.float32)
        self.action_high = torch.as_tensor(action_space.high, dtype=torch.float32)
        self.cameras: Mapping[str, tuple[int, int, int]] = {}
        self.max_steps = _time_limit(id, first)
        self.has_success = _reports_success(first)
        self._state = torch.zeros(num_envs, self.state_dim)
        self._ended = np.ones(num_envs, dtype=bool)
        self._terminated = torch.zeros(num_envs, dtype=torch.bool)
        self._truncated = torch.zeros(num_envs, dtype=torch.bool)
        self._success = torch.zeros(num_envs, dtype=torch.bool)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]), with one seed per row or from each row's own stream."""
        for position, row in enumerate(rows.tolist()):
            state, _ = self._envs[row].reset(seed=None if seeds is None else int(seeds[position]))
            self._state[row] = torch.as_tensor(state, dtype=torch.float32)
            self._ended[row] = False
        for flag in (self._terminated, self._truncated, self._success):
            flag[rows] = False

    def observe(self) -> Observation:
        """Return the state [B, S] of all worlds, without images or language."""
        return Observation(state=self._state.clone(), images={}, instruction=("",) * self.num_envs)

    def step(self, action: Tensor) -> Step:
        """Advance the worlds that have not ended by action [B, A], in the environment's units."""
        reward = torch.zeros(self.num_envs)
        actions = action.detach().cpu().numpy()
        for row in np.flatnonzero(~self._ended):
            env = self._envs[row]
            state, gain, terminated, truncated, info = env.step(actions[row].astype(env.action_space.dtype))
            self._state[row] = torch.as_tensor(state, dtype=torch.float32)
            reward[row] = float(gain)
            self._terminated[row] = bool(terminated)
            self._truncated[row] = bool(truncated and not terminated)
            self._success[row] |= bool(info.get("is_success", False))
            self._ended[row] = terminated or truncated
        success = self._success.clone() if self.has_success else None
        return Step(reward, self._terminated.clone(), self._truncated.clone(), success)

    def state_dict(self) -> dict[str, Any] | None:
        """Read all worlds; None for environments whose state cannot be read (Box2D's memory)."""
        try:
            worlds = [_gym_state.state_dict(env) for env in self._envs]
        except _gym_state.UnsupportedStateError:
            return None
        flags = [torch.from_numpy(self._ended.copy()), self._terminated, self._truncated, self._success]
        return {"worlds": worlds, "state": self._state.clone(), "flags": [flag.clone() for flag in flags]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for env, world in zip(self._envs, state["worlds"], strict=True):
            _gym_state.load_state_dict(env, world)
        self._state = state["state"].clone()
        ended, *flags = (flag.clone() for flag in state["flags"])
        self._ended = ended.numpy()
        self._terminated, self._truncated, self._success = flags

    def hold(self) -> Tensor:
        """Return the action [B, A] nearest to zero; ended worlds are not stepped at all."""
        nearest = torch.zeros(self.action_dim).clamp(self.action_low, self.action_high)
        return nearest.expand(self.num_envs, -1).clone()


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


def _reports_success(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether the info of one trial step has `is_success`; the world is reset with a seed before it is used."""
    env.reset(seed=0)
    *_, info = env.step(np.clip(np.zeros_like(env.action_space.low), env.action_space.low, env.action_space.high))
    return "is_success" in info
