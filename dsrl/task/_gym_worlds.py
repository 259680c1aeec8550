"""Steps a list of gymnasium environments, one after the other in this process, as a batch of worlds.

GymTask, MetaWorldTask   make the environments, and read state and images of their observations
GymWorlds                resets, steps, ends, saves and restores them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from dsrl.interfaces import Observation, Step
from dsrl.task import _gym_calls, _gym_classes, _gym_state
from dsrl.task._gym_packing import UnsupportedStateError
from dsrl.task._hold import nearest_to_zero
from dsrl.task._success import succeeded

_MOST_FPS = 10_000  # that a dataset can have


class GymWorlds:
    """A batch of gymnasium environments. A world that has ended is not stepped and has reward 0 until it is reset."""

    def __init__(
        self,
        name: str,
        envs: Sequence[gymnasium.Env[Any, Any]],
        state_dim: int,
        cameras: Mapping[str, tuple[int, int, int]],
        max_steps: int,
        has_success: bool,
    ) -> None:
        """Take equal environments whose actions are a flat box; cameras: name -> (3, H, W).

        `name` is what the user typed to choose them, such as task.id=Pendulum-v1, for messages.
        """
        self._name, self._envs = name, list(envs)
        action_space = self._envs[0].action_space
        assert isinstance(action_space, Box)
        self.num_envs, self.max_steps, self.has_success = len(self._envs), max_steps, has_success
        self.state_dim, self.cameras = state_dim, cameras
        self.action_dim = action_space.shape[0]
        self.action_low = torch.as_tensor(action_space.low, dtype=torch.float32)
        self.action_high = torch.as_tensor(action_space.high, dtype=torch.float32)
        self.latest: list[Any] = [None] * self.num_envs  # observation that each environment returned last, if any
        self._classes = _gym_classes.marks(self._envs)
        self._state = torch.zeros(self.num_envs, state_dim)
        self._ended = np.ones(self.num_envs, dtype=bool)
        self._terminated = torch.zeros(self.num_envs, dtype=torch.bool)
        self._truncated = torch.zeros(self.num_envs, dtype=torch.bool)
        self._success = torch.zeros(self.num_envs, dtype=torch.bool)

    @property
    def fps(self) -> int | None:
        """Control steps per second as the environment declares them, by render_fps; None where it does not."""
        declared = self._envs[0].metadata.get("render_fps")
        return round(declared) if isinstance(declared, int | float) and 1 <= declared <= _MOST_FPS else None

    # -- defined by subclasses -----------------------------------------------------------------------------------------

    def read_state(self, observation: Any) -> NDArray[Any]:
        """Select the state [S] of what one environment returned."""
        return np.asarray(observation)

    def kept(self, observation: Any) -> Any:
        """Return what one environment returned as `latest` holds it: a copy of all that it may overwrite."""
        return observation

    def read_images(self) -> dict[str, Tensor]:
        """Draw or read the images of all worlds: camera name -> uint8 [B, 3, H, W]."""
        return {}

    def instructions(self) -> tuple[str, ...]:
        """Return the instruction of every world."""
        return ("",) * self.num_envs

    # -- the Task protocol ---------------------------------------------------------------------------------------------

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]), with one seed per row or from each row's own stream."""
        for position, row in enumerate(rows.tolist()):
            seed = None if seeds is None else int(seeds[position])
            with _gym_calls.playing(self._name, "reset"):
                observation = _gym_calls.reset(self._envs[row], self._name, seed)
            self._take(row, observation)
            self._ended[row] = False
        for flag in (self._terminated, self._truncated, self._success):
            flag[rows] = False

    def observe(self) -> Observation:
        """Return state [B, S], images and instructions of all worlds."""
        return Observation(self._state.clone(), self.read_images(), self.instructions())

    def step(self, action: Tensor) -> Step:
        """Advance the worlds that have not ended by action [B, A], in the environment's units, clipped to the box."""
        reward = torch.zeros(self.num_envs)
        actions = action.detach().cpu().clamp(self.action_low, self.action_high).numpy()
        for row in np.flatnonzero(~self._ended):
            env = self._envs[row]
            sent = native(actions[row], env.action_space)
            with _gym_calls.playing(self._name, "step"):
                observation, reward[row], terminated, truncated, info = _gym_calls.step(env, self._name, sent)
            self._take(row, observation)
            self._terminated[row] = terminated
            self._truncated[row] = truncated and not terminated
            self._success[row] |= succeeded(info, self._name)
            self._ended[row] = terminated or truncated
        success = self._success.clone() if self.has_success else None
        return Step(reward, self._terminated.clone(), self._truncated.clone(), success)

    def hold(self) -> Tensor:
        """Return the action [B, A] nearest to zero; ended worlds are not stepped at all."""
        return nearest_to_zero(self.action_low, self.action_high, self.num_envs)

    def state_dict(self) -> dict[str, Any] | None:
        """Read all worlds; None for environments with a state that cannot be read (Box2D's memory, a changed class)."""
        if _gym_classes.marks(self._envs) != self._classes:
            return None
        try:
            worlds = [_gym_state.state_dict(env) for env in self._envs]
        except UnsupportedStateError:
            return None
        flags = [torch.from_numpy(self._ended.copy()), self._terminated, self._truncated, self._success]
        return {"worlds": worlds, "state": self._state.clone(), "flags": [flag.clone() for flag in flags]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError for the state of other worlds."""
        shapes = [list(state["state"].shape), *(list(flag.shape) for flag in state["flags"])]
        own = [[self.num_envs, self.state_dim], *[[self.num_envs]] * 4]
        if shapes != own or any(flag.dtype != torch.bool for flag in state["flags"]):
            raise ValueError(f"the state of the worlds has the shapes {shapes!s:.200}, but this task {own}")
        for env, world in zip(self._envs, state["worlds"], strict=True):
            _gym_state.load_state_dict(env, world)
        self._state = state["state"].clone()
        ended, *flags = (flag.clone() for flag in state["flags"])
        self._ended = ended.numpy()
        self._terminated, self._truncated, self._success = flags

    def _take(self, row: int, observation: Any) -> None:
        state = torch.as_tensor(self.read_state(observation), dtype=torch.float32)
        if tuple(state.shape) != (self.state_dim,):
            raise ValueError(
                f"{self._name} returned an observation of {state.numel()} numbers but its observation_space has "
                f"{self.state_dim}; correct the one or the other in the environment"
            )
        self.latest[row], self._state[row] = self.kept(observation), state


def native(action: NDArray[Any], space: Box) -> NDArray[Any]:
    """Return float32 actions in the dtype of `space`; one at a bound is exactly there.

    Whole numbers are rounded to, and what their dtype cannot hold is its nearest.
    """
    values = action.astype(np.float64)
    if np.issubdtype(space.dtype, np.integer):
        kind = np.iinfo(space.dtype)
        values = np.rint(values).clip(kind.min, kind.max)
    cast = values.astype(space.dtype)
    for bound in (space.low, space.high):  # float32(0.1) is more than 0.1, which environments assert
        np.copyto(cast, bound, where=action == bound.astype(np.float32))
    return cast
