"""MetaWorld: a Sawyer arm and 50 tasks with one object each, on numbers or camera images.

action [B, 4] = change of the gripper's x, y, z and closing force, each -1 to 1

state [B, 39] = gripper and objects now (18) and one control step ago (18), goal (3)    observation="state", no cameras
state [B, 4]  = the gripper's x, y, z (m) and opening (0 to 1), and cameras             observation="images", as lerobot

An episode ends at success. MetaWorld's `reset(seed)` ignores its seed, and its observation space is computed while the
goal is hidden, which sets the goal in every observation to zero; `make_world` mends both.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from torch import Tensor

from dsrl.task._gym_worlds import GymWorlds
from dsrl.task._metaworld_language import SENTENCES
from dsrl.task._mujoco_drawing import MujocoDrawing
from dsrl.task._options import Steps
from dsrl.task._world_memory import WorldMemory

CAMERAS = ("topview", "corner", "corner2", "corner3", "behindGripper", "gripperPOV")
_CORNER2 = (0.75, 0.075, 0.7)  # m: nearer than MetaWorld's own place, as lerobot's datasets were recorded
_VIDEO_SIZE = 448  # pixels, square
_LARGEST_REWARD = 10.0  # of MetaWorld, at success
_ASSETS = Path(__file__).resolve().parents[1] / "assets"  # the bundled policies
_BASE = "flow_mlp"  # the kind of those of MetaWorld


class MetaWorldTask(GymWorlds):
    """Simulates `num_envs` worlds of one MetaWorld task in this process."""

    def __init__(
        self,
        name: str,
        num_envs: Annotated[int, Ge(1)],
        observation: Literal["state", "images"],
        reward: Literal["sparse", "dense"],
        max_steps: Steps,
        cameras: Sequence[str],
        image_size: Annotated[int, Ge(8), Le(4096)],
    ) -> None:
        """Make the worlds of the task `name`, such as push-v3.

        reward: sparse pays 1 at success, dense MetaWorld's own from 0 to 1; max_steps: control steps (1/80 s) until
        truncation; cameras: names of MetaWorld's, drawn for observation="images", image_size pixels square.

        Raises ValueError for an unknown name or camera and more worlds than the memory holds, ImportError where
        MetaWorld is not installed.
        """
        _check_names(name, cameras)
        self._instructions = (SENTENCES[name],) * num_envs
        self.observation = observation
        self._drawing = MujocoDrawing()
        self._image_size = image_size
        drawn = dict.fromkeys(cameras, (3, image_size, image_size)) if observation == "images" else {}
        super().__init__(
            f"task.name={name}",
            _worlds(name, num_envs, max_steps, reward == "dense", sum(map(math.prod, drawn.values()))),
            state_dim=4 if observation == "images" else 39,
            cameras=drawn,
            max_steps=max_steps,
            has_success=True,
        )

    @staticmethod
    def check_typed(task: Mapping[str, Any], path: str | None) -> None:
        """Raise ValueError for a wrong name or camera, and for a `path` that no bundled policy has; imports nothing."""
        name = task["name"]
        _check_names(name, task["cameras"])
        if path == f"{name}/{_BASE}" and not (_ASSETS / path).is_dir() and not Path(path).is_dir():
            raise ValueError(_without_base(name))

    def read_state(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Select what the policy reads of MetaWorld's 39 numbers."""
        return observation[:4] if self.observation == "images" else observation

    def read_images(self) -> dict[str, Tensor]:
        """Draw all worlds by the policy's cameras."""
        return {name: self._draw(name, self.num_envs, self._image_size) for name in self.cameras}

    def instructions(self) -> tuple[str, ...]:
        """Return the task's sentence for every world."""
        return self._instructions

    def numbers(self) -> Tensor:
        """Return MetaWorld's own observations [B, 39] float64, for its scripted experts."""
        return torch.from_numpy(np.stack(self.latest))

    def picture(self, num_worlds: int) -> Tensor:
        """Draw the first worlds for a video, uint8 [num_worlds, 3, H, W]."""
        return self._draw("corner2", num_worlds, _VIDEO_SIZE, plain=True)

    def _draw(self, camera: str, num_worlds: int, size: int, *, plain: bool = False) -> Tensor:
        worlds = [env.unwrapped for env in self._envs[:num_worlds]]
        drawn = torch.stack([self._drawing.draw(one.model, one.data, camera, size, plain=plain) for one in worlds])
        return drawn.flip(2, 3) if camera == "corner2" else drawn  # that camera is mounted upside down


class SawyerWorld(gymnasium.Wrapper):  # type: ignore[misc]  # gymnasium is not typed
    """One MetaWorld environment whose world follows from its seed and whose episode ends at success."""

    def __init__(self, env: gymnasium.Env[Any, Any], dense: bool) -> None:
        """dense: whether rewards are MetaWorld's own, scaled to 0 … 1, rather than 1 at success."""
        super().__init__(env)
        self._dense = dense

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the episode of `seed`, or the next one of this world's stream."""
        if seed is not None:
            world: Any = self.env.unwrapped
            world.seed(seed)
        observation, info = self.env.reset()
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of action [4], clipped to -1 … 1."""
        observation, reward, _, truncated, info = self.env.step(np.clip(action, -1.0, 1.0))
        success = bool(info["success"])
        paid = float(reward) / _LARGEST_REWARD if self._dense else float(success)
        return observation, paid, success, bool(truncated), {"is_success": success}


def _worlds(name: str, num_envs: int, max_steps: int, dense: bool, observed: int) -> list[SawyerWorld]:
    """Make the worlds, each of which is drawn in `observed` bytes."""
    worlds: list[SawyerWorld] = []
    memory = WorldMemory(num_envs)
    while len(worlds) < num_envs:
        worlds.append(SawyerWorld(make_world(name, max_steps), dense))
        memory.add(observed)
    return worlds


def make_world(name: str, max_steps: int) -> gymnasium.Env[Any, Any]:
    """Make MetaWorld's environment of a task, with random objects and goals drawn from its own seeded stream."""
    world = _classes()[name]()
    world.max_path_length = max_steps
    world._set_task_called = True  # `set_task` would fix one of 50 worlds
    world._freeze_rand_vec, world.seeded_rand_vec = False, True
    world._partially_observable = False
    vars(world).pop("sawyer_observation_space", None)  # cached with the goal's bounds at zero
    world.model.cam_pos[world.model.camera("corner2").id] = _CORNER2
    return world


def _classes() -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    except ImportError as error:
        raise ImportError(
            f"task=metaworld needs MetaWorld ({error}); type: uv pip install 'metaworld==3.0.0'"
        ) from error
    classes: Mapping[str, Any] = ALL_V3_ENVIRONMENTS
    return classes


def _check_names(name: str, cameras: Sequence[str]) -> None:
    if name not in SENTENCES:
        near = difflib.get_close_matches(name, SENTENCES, n=3, cutoff=0.3) or sorted(SENTENCES)[:3]
        raise ValueError(f"task.name={name} is no MetaWorld task; type one of its 50, such as {', '.join(near)}")
    unknown = [camera for camera in cameras if camera not in CAMERAS]
    if unknown:
        raise ValueError(f"task.cameras={list(cameras)} has no camera {unknown[0]}; type some of {', '.join(CAMERAS)}")
    if not cameras:
        raise ValueError(f"task.cameras=[] shows nothing; type some of {', '.join(CAMERAS)}, or task.observation=state")


def _without_base(name: str) -> str:
    """Return the sentence for a task that has no bundled policy, with the commands that make one."""
    bundled = " and ".join(sorted(folder.parent.name for folder in _ASSETS.glob(f"*-v3/{_BASE}")))
    return (
        f"task=metaworld has a bundled policy for {bundled} and none for task.name={name}; make one by `python -m "
        f"scripts.collect_expert --name {name} --out data/{name}` and `python -m scripts.pretrain --policy {_BASE} "
        f"--dataset data/{name} --out data/{name}_base --chunk 8 --steps 3000`, then type "
        f"policy.path=data/{name}_base"
    )
