"""Runs any gymnasium environment with a box of actions as a batch of worlds in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import gymnasium
import numpy as np
from annotated_types import Ge
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task._gym_calls import RaisedError
from dsrl.task._gym_ids import make, needing_packages
from dsrl.task._gym_observations import ObservationParts
from dsrl.task._gym_trial import Trial, tried
from dsrl.task._gym_worlds import GymWorlds
from dsrl.task._options import Steps
from dsrl.task._world_memory import WorldMemory, observed_bytes

_WITHOUT_SUCCESS = "no info of a trial episode has is_success or success, so that the run is scored by returns"

_UNREPEATED = (
    "its worlds do not follow their seed, so that evaluations are not paired and do not repeat: two episodes of one "
    "seed and the same actions differ as of {where}; draw from self.np_random alone in the environment, and keep "
    "nothing from one episode to the next"
)

_REFUSED = (
    "actions drawn from its action_space raise an error ({error}), which would end the run in training; narrow "
    "its action_space where the base policy needs no such actions"
)


class GymTask(GymWorlds):
    """Steps `num_envs` copies of one gymnasium id. Actions are in the environment's units.

    `success` is given where the info of a step has `is_success` or `success`, in some environments the last one alone.
    """

    def __init__(
        self,
        id: str,
        num_envs: Annotated[int, Ge(1)],
        max_steps: Steps | None,
        env_kwargs: Mapping[str, Any] | None = None,
        announce: Callable[[str], None] | None = None,
        instruction: str | None = None,
    ) -> None:
        """`max_steps` None keeps the time limit that `id` was registered with; `env_kwargs` go to gymnasium.make.

        announce: prints where there is no success, where a seed is no world and where random actions are refused.
        instruction: of every world, for policies that read one.

        Raises ValueError for an unknown id, for spaces other than boxes, where there is no time limit, for more worlds
        than the memory holds, and for an environment whose reset or step fails or returns what no run can use, such as
        a success that is no bool; ImportError where a package is missing.
        """
        first = make(id, max_steps, env_kwargs or {})
        self._parts = ObservationParts(id, first.observation_space)
        _check_actions(id, first)
        limit = _time_limit(id, first)
        envs = _copies(id, first, num_envs, max_steps, env_kwargs or {})
        trial = _tried(id, envs[0], self._parts, env_kwargs or {})
        super().__init__(
            f"task.id={id}",
            envs,
            state_dim=self._parts.state_dim,
            cameras=self._parts.shapes,
            max_steps=limit,
            has_success=trial.has_success,
        )
        self._instruction = instruction or ""
        if announce:
            for line in _lines(trial):
                announce(f"task.id={id}: {line}")

    def read_state(self, observation: Any) -> NDArray[np.float32]:
        """Return the numbers of an observation, those of a dictionary in the order of their names."""
        self._parts.check(observation)
        return self._parts.read_state(observation)

    def kept(self, observation: Any) -> Any:
        """Return an observation with its images copied."""
        return self._parts.kept(observation)

    def instructions(self) -> tuple[str, ...]:
        """Return the same instruction for every world."""
        return (self._instruction,) * self.num_envs

    def read_images(self) -> dict[str, Tensor]:
        """Return the images of the latest observations."""
        return self._parts.read_images(self.latest)

    def state_dict(self) -> dict[str, Any] | None:
        """Read all worlds; None where their state cannot be read, and where observations hold images."""
        return None if self.cameras else super().state_dict()


def _copies(
    id: str, first: gymnasium.Env[Any, Any], num_envs: int, max_steps: int | None, env_kwargs: Mapping[str, Any]
) -> list[gymnasium.Env[Any, Any]]:
    """Return `num_envs` equal environments, of which the first is there."""
    envs, memory = [first], WorldMemory(num_envs)
    memory.add(observed_bytes(first.observation_space))
    while len(envs) < num_envs:
        try:
            envs.append(make(id, max_steps, env_kwargs))
        except (ValueError, MemoryError) as error:
            reason = " ".join(str(error.__cause__ or error).split())[:300] or type(error).__name__
            raise ValueError(
                f"task.id={id} can be made but not num_envs={num_envs} times ({reason}); type a smaller num_envs"
            ) from error
        memory.add(observed_bytes(envs[-1].observation_space))
    return envs


def _tried(id: str, env: gymnasium.Env[Any, Any], parts: ObservationParts, env_kwargs: Mapping[str, Any]) -> Trial:
    try:
        with needing_packages(id):
            return tried(env, f"task.id={id}", parts)
    except RaisedError as error:
        if not env_kwargs:
            raise
        raise ValueError(
            f"task.env_kwargs={dict(env_kwargs)} does not suit task.id={id} ({error.reason}); type others, or correct "
            "the environment"
        ) from error


def _lines(trial: Trial) -> list[str]:
    """Return what a trial found that the user has to know, a line each."""
    refused = [] if trial.refusal is None else [_REFUSED.format(error=trial.refusal)]
    unrepeated = [] if trial.unrepeated is None else [_UNREPEATED.format(where=trial.unrepeated)]
    return [*refused, *unrepeated, *([] if trial.has_success else [_WITHOUT_SUCCESS])]


def _check_actions(id: str, env: gymnasium.Env[Any, Any]) -> None:
    space = env.action_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(
            f"task.id={id} has action_space {space} but task=gym needs a flat Box; type another id or wrap it"
        )


def _time_limit(id: str, env: gymnasium.Env[Any, Any]) -> int:
    limit = env.spec.max_episode_steps if env.spec else None
    if limit is None:
        raise ValueError(
            f"task.max_steps=null but task.id={id} has no time limit; type a number, such as task.max_steps=1000"
        )
    return int(limit)
