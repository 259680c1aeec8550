"""One world of a lerobot environment, made by lerobot's `make_env` inside the process that steps it.

environments of lerobot   reset themselves when they have ended, or must not be stepped any more; some draw unseeded
World                     waits at its end for a reset with a seed, and is then the world of that seed; draws LIBERO's
                          cameras when it is looked at
"""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import signal
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
from numpy.typing import NDArray

from dsrl.task._gym_calls import ending, naming_exit, number
from dsrl.task._libero_cameras import DeferredCameras
from dsrl.task._libero_package import drop_samplers, fit_package
from dsrl.task._mujoco_drawing import choose_egl
from dsrl.task._success import succeeded


class GroupError(ValueError):
    """What was typed is the name of several tasks."""


class World(gymnasium.Wrapper):  # type: ignore[misc]  # gymnasium is not typed
    """Ends like the environment inside, but reports it in `info` alone, so that no vector environment resets it."""

    def __init__(self, env: gymnasium.Env[Any, Any], max_steps: int | None, row: int = 0, kind: str = "") -> None:
        """`max_steps` None takes the time limit of lerobot; `row` is the place of this world among all.

        kind: lerobot's name of the environment, for messages.
        """
        super().__init__(env)
        self.row, self.kind = row, kind
        self.limit = max_steps if max_steps is not None else _time_limit(env)
        self.sentence = _sentence(env.unwrapped)
        self.num_worlds = _num_worlds(env.unwrapped, kind)
        self._steps, self._over = 0, True
        self._observation: Any = None
        self._cameras: DeferredCameras | None = None  # of LIBERO
        self._images: dict[str, NDArray[Any]] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the episode of `seed`."""
        inside: Any = self.env.unwrapped
        if hasattr(inside, "init_state_id"):  # LIBERO has numbered initial states, and counts resets to choose one
            inside.init_state_id = seed
            drop_samplers(inside)
            self._cameras = self._cameras or DeferredCameras(inside)
            self._cameras.make_current()
        with naming_exit(f"task.env={self.kind}", "reset"):
            self._observation, _ = self.env.reset(seed=seed)
        self._steps, self._over, self._images = 0, False, {}
        return self._observation, {}

    def step(self, action: NDArray[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control step, or not at all after the end."""
        if self._over:
            return self._observation, 0.0, False, False, _ended(False, False, False)
        name = f"task.env={self.kind}"
        with naming_exit(name, "step"):
            self._observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps, self._images = self._steps + 1, {}
        terminated = ending(terminated, name, "terminated")
        truncated = ending(truncated, name, "truncated") or self._steps >= self.limit
        self._over = terminated or truncated
        success = succeeded(info, name)
        return self._observation, number(reward, name), False, False, _ended(terminated, truncated, success)

    def look(self) -> dict[str, NDArray[Any]]:
        """Draw the images [H, W, 3] of LIBERO's cameras, unless the world has not moved; {} elsewhere."""
        if self._cameras is not None and not self._images:
            self._images = self._cameras.look()
        return self._images

    def picture(self, num_worlds: int) -> NDArray[Any] | None:
        """Draw the environment's own picture [H, W, 3] for people; None in the worlds behind the first ones."""
        drawn: NDArray[Any] | None = self.env.render() if self.row < num_worlds else None
        return drawn


def make_world(kind: str, fields: Mapping[str, Any], id: int, max_steps: int | None, row: int = 0) -> World:
    """Make the only world of task `id` in the suite of a lerobot environment, in the process that calls this.

    Raises GroupError where lerobot has several tasks for one name and no number to choose among them.
    """
    if multiprocessing.current_process().daemon:  # a worker leaves the signals of schedulers and keyboards to the run
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
    choose_egl()
    with (
        naming_exit(f"task.env={kind}", "its constructor"),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),  # lerobot prints one line for each of the packages that an environment imports,
    ):
        warnings.simplefilter("ignore")  # and these warn about their own
        from lerobot.envs.factory import make_env, make_env_config

        logging.getLogger("robosuite_logs").setLevel(logging.ERROR)  # it advises private macros
        if kind == "libero":
            fit_package()
        ((name, suite),) = make_env(make_env_config(kind, **fields), n_envs=1, use_async_envs=False).items()
    if len(suite) > 1 and "task_ids" not in fields:
        raise GroupError(f"task.name={name} is a group of {len(suite)} tasks of task.env={kind}; type one of them")
    return World(suite[id].envs[0], max_steps, row, kind)


def _time_limit(env: gymnasium.Env[Any, Any]) -> int:
    limit = env.spec.max_episode_steps if env.spec else None
    return int(limit or env.get_wrapper_attr("_max_episode_steps"))


def _sentence(env: Any) -> str:
    """Return the instruction, as lerobot's evaluation gives it to policies: a sentence, else the name of the task."""
    return str(getattr(env, "task_description", None) or getattr(env, "task", None) or "")


def _num_worlds(env: Any, kind: str) -> int | None:
    """Return how many worlds the seeds of an environment start; None for another one by every seed."""
    if kind == "robomme":  # its reset ignores the seed and plays one episode of its data
        return 1
    states = getattr(env, "_init_states", None)  # of LIBERO and LIBERO-plus, where init_states is true
    return None if states is None else len(states)


def _ended(terminated: bool, truncated: bool, success: bool) -> dict[str, Any]:
    flags = {"terminated": terminated, "truncated": truncated and not terminated, "success": success}
    return {name: bool(flag) for name, flag in flags.items()}  # NumPy's would come back as an array of objects
