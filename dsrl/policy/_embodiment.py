"""Compares the cameras, state and action of a checkpoint with those of a task and of every observation.

    task camera "top" --camera_map--> checkpoint key "observation.images.front" --saved preprocessor--> image feature

Cameras are matched by name, never by order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE

from dsrl.interfaces import Observation, Task
from dsrl.policy._lerobot import processor_step
from dsrl.policy._observation_key import typed_for

ALOHA = 14  # joints and grippers of two arms, which `adapt_to_pi_aloha` converts one by one
MOST = 4096  # numbers of a state or an action, where a policy pads to no fixed number


@dataclass(frozen=True)
class Embodiment:
    """The robot that a checkpoint was trained on."""

    path: str  # as the user typed it, for messages
    cameras: Mapping[str, str]  # task camera -> key that the saved preprocessor takes
    image_shapes: Mapping[str, tuple[int, ...]]  # task camera -> (3, H, W) of the training images
    state_dim: int  # of the task's state: the robot's, followed by that of its surroundings
    action_dim: int
    surroundings_dim: int = 0  # numbers at the end of the state that lerobot calls observation.environment_state
    num_observations: int = 1  # n, of consecutive control steps
    resizes: bool = True  # whether images of any size are taken
    stacks: bool = False  # whether all cameras become one tensor, so that they need one size
    spare: Mapping[str, str] = field(default_factory=dict)  # task camera -> key in config.json that may be deleted

    def check_fits(self, task: Task) -> None:
        """Compare with a task before it simulates; raises ValueError with all differences and what to type."""
        views = self._pair_cameras(task)
        problems, advice = [], []
        if set(self.cameras) - set(task.cameras):
            problems.append(f"cameras {sorted(self.cameras)} but the task has {sorted(task.cameras)}")
            advice.append(self._camera_advice(views))
        for name, ours, theirs in (
            ("state", self.state_dim, task.state_dim),
            ("action", self.action_dim, task.action_dim),
        ):
            if ours != theirs:
                problems.append(f"a {ours}-dim {name} but the task has a {theirs}-dim one")
        if not self.resizes:
            problems += [
                f"images {camera} of {list(self.image_shapes[camera])} but the task's "
                f"{'' if view == camera else f'{view} '}are {list(task.cameras[view])}"
                for camera, view in views.items()
                if tuple(task.cameras[view]) != self.image_shapes[camera]
            ]
        sizes = {view: list(task.cameras[view]) for view in views.values()}
        if self.resizes and self.stacks and any(size != sizes[next(iter(sizes))] for size in sizes.values()):
            listed = " and ".join(f"{view} of {size}" for view, size in sizes.items())
            problems.append(f"one size of images for all cameras but the task has {listed}")
            advice.append("choose a task whose cameras have one size")
        same_control = self.action_dim == task.action_dim
        other = typed_for(task, "images" if self.cameras else "state") if same_control else None
        if other and len(self.cameras) > len(task.cameras):
            least = f"{len(self.cameras)} camera{'s' if len(self.cameras) > 1 else ''} or more"
            needed = f"{least} and a {self.state_dim}-dim state"  # it is not built to find out
            advice = [f"type {other} where the task then has {needed}, or choose another task"]
        elif len(problems) > len(advice):
            others = f"another task, or {other}" if other and not self.cameras else "or another task"
            advice.append(f"choose a checkpoint trained on this robot and control, {others}")
        if problems:
            raise ValueError(f"policy.path={self.path} has {', and '.join(problems)}; {', and '.join(advice)}")

    def _pair_cameras(self, task: Task) -> dict[str, str]:
        """Return the view of the task for each camera: of its name, or a free one, of its size if there is one."""
        views = {camera: camera for camera in self.cameras if camera in task.cameras}
        free = sorted(set(task.cameras) - set(views))
        for camera in sorted(set(self.cameras) - set(views)):
            if not free:
                break
            same = [view for view in free if tuple(task.cameras[view]) == self.image_shapes[camera]]
            views[camera] = (same or free)[0]
            free.remove(views[camera])
        return views

    def _camera_advice(self, views: Mapping[str, str]) -> str:
        """Return what to type so that each camera gets its view."""
        if len(views) < len(self.cameras):
            more = f"choose a task with at least as many cameras, {len(self.cameras)}"
            blind = [repr(key) for camera, key in self.spare.items() if camera not in views]
            if not blind:
                return more
            listed = " and ".join(blind)
            return (
                f"{more}, or, where it was trained without {listed}, delete that from its config.json: input_features"
            )
        names = {camera: key.rsplit(".", 1)[-1] for camera, key in self.cameras.items()}
        shared = [name for name in names.values() if list(names.values()).count(name) > 1]
        names = {camera: self.cameras[camera] if name in shared else name for camera, name in names.items()}
        pairs = ", ".join(
            f"{_word(view)}: {_word(names[camera])}" for camera, view in views.items() if view != names[camera]
        )
        return f"where they are the same views, type 'policy.camera_map={{{pairs}}}'"

    def as_batch(self, observation: Observation, device: torch.device) -> dict[str, Any]:
        """Convert an observation to the names and ranges of lerobot's preprocessor; images in [0, 1].

        Raises:
            ValueError: for a camera, a state or an image that lerobot would silently drop, pad or misread.
        """
        past = () if self.num_observations == 1 else (self.num_observations,)
        expected, found = (*past, self.state_dim), tuple(observation.state.shape)
        if found[1:] != expected:
            raise ValueError(
                f"the observed state is {found} but {self.path} takes [B, {', '.join(map(str, expected))}]"
            )
        state = observation.state.to(device, torch.float32, copy=True)
        robot = self.state_dim - self.surroundings_dim
        batch: dict[str, Any] = {OBS_STATE: state[..., :robot]}
        if self.surroundings_dim:
            batch[OBS_ENV_STATE] = state[..., robot:]
        for camera, key in self.cameras.items():
            image = observation.images.get(camera)
            if image is None:
                raise ValueError(
                    f"{self.path} needs camera {camera!r} but the observation has {list(observation.images)}"
                )
            if image.dtype != torch.uint8 or tuple(image.shape[1:-2]) != (*past, 3):
                raise ValueError(
                    f"camera {camera!r} gave {image.dtype} {tuple(image.shape)} but images are uint8 "
                    f"[B, {', '.join(map(str, (*past, 3)))}, H, W]"
                )
            batch[key] = image.to(device).float() / 255
        batch["task"] = list(observation.instruction)
        return batch


def _word(name: str) -> str:
    """Return a camera's name as it is typed inside of a mapping, in quotes where it would be read as something else."""
    plain = re.fullmatch(r"[A-Za-z_][\w.-]*", name) and name.lower() not in ("null", "true", "false", "nan", "inf")
    return name if plain else json.dumps(name)


def read_embodiment(
    path: str,
    config: Any,
    preprocessor: Any,
    camera_map: Mapping[str, str],
    *,
    history: bool = False,
    resizes: bool = True,
) -> Embodiment:
    """Read the embodiment of a lerobot checkpoint from its configuration and its saved preprocessor.

    `history` is whether the policy encodes its last `n_obs_steps` observations, all cameras in one tensor; `resizes`
    whether it takes images of any size.

    Raises:
        ValueError: if `camera_map` ({task camera: checkpoint camera}) names no camera of the checkpoint, or one twice.
    """
    rename = processor_step(preprocessor, "rename_observations_processor")
    inverse = {new: old for old, new in rename.rename_map.items()} if rename else {}
    shapes = {inverse.get(key, key): config.image_features[key].shape for key in image_keys(config)}
    cameras = _name_cameras(path, list(shapes), camera_map)
    keys = {camera: rename.rename_map.get(key, key) if rename else key for camera, key in cameras.items()}
    spare = keys if hasattr(config, "empty_cameras") else {}  # lerobot masks the images that these types lack
    surroundings = config.env_state_feature.shape[0] if config.env_state_feature else 0
    return Embodiment(
        path=path,
        cameras=cameras,
        image_shapes={camera: tuple(shapes[key]) for camera, key in cameras.items()},
        state_dim=config.robot_state_feature.shape[0] + surroundings,
        action_dim=config.action_feature.shape[0],
        surroundings_dim=surroundings,
        num_observations=config.n_obs_steps if history else 1,
        resizes=resizes,
        stacks=history,
        spare=spare,
    )


def check_features(config: Any, checkpoint: Path) -> None:
    """Check that a lerobot configuration has a state, an action and cameras of the shapes that a policy takes.

    A policy without cameras needs the state of its surroundings.

    Raises:
        ValueError: if one is missing or has another shape.
    """
    file, state, action = checkpoint / "config.json", config.robot_state_feature, config.action_feature
    if state is None or action is None:
        raise ValueError(f"{file} names no {OBS_STATE} or no {ACTION}; it cannot drive a robot")
    if not image_keys(config) and not (config.type == "diffusion" and config.env_state_feature):
        raise ValueError(f"{file} names no camera, and {config.type} needs one; train it with images")
    for name, shape, most in (
        (OBS_STATE, state.shape, getattr(config, "max_state_dim", MOST)),
        (ACTION, action.shape, getattr(config, "max_action_dim", MOST)),
    ):
        if len(shape) != 1 or shape[0] > most:
            raise ValueError(f"{file} gives {name} the shape {list(shape)} but it must be [1] to [{most}]")
        if getattr(config, "adapt_to_pi_aloha", False) and shape[0] < ALOHA:
            raise ValueError(
                f"{file} has adapt_to_pi_aloha, which takes Aloha's {ALOHA} joints and grippers, but gives {name} "
                f"{shape[0]} numbers; set it to false, or choose a checkpoint for Aloha"
            )
    for key in image_keys(config):
        shape = config.image_features[key].shape
        if len(shape) != 3 or shape[0] != 3:
            raise ValueError(f"{file} gives {key} the shape {list(shape)} but images are [3, H, W]")


def image_keys(config: Any) -> list[str]:
    """Return the keys of the model's images without `empty_camera_<i>`, which lerobot fills with black.

    lerobot adds them where the configuration has `empty_cameras`; elsewhere it is a camera's own name.
    """
    empty = getattr(config, "empty_cameras", 0)
    return [key for key in config.image_features if not (empty and ".empty_camera_" in key)]


def _name_cameras(path: str, keys: list[str], camera_map: Mapping[str, str]) -> dict[str, str]:
    """Map task cameras to keys; a camera has the last part of its key as name unless `camera_map` renames it."""
    renamed: dict[str, str] = {}
    found = {target: [key for key in keys if target in (key, key.rsplit(".", 1)[-1])] for target in camera_map.values()}
    unknown = [target for target, matches in found.items() if len(matches) != 1]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise ValueError(f"policy.camera_map names {listed} but the cameras of {path} are {keys}; type one of them")
    for camera, target in camera_map.items():
        matches = found[target]
        if matches[0] in renamed:
            raise ValueError(f"policy.camera_map gives {matches[0]} two task cameras; name it once")
        renamed[matches[0]] = camera
    own = {key: key.rsplit(".", 1)[-1] for key in keys}
    blind = [key for key, name in own.items() if key not in renamed and name in camera_map]
    if blind:
        free = [name for key, name in own.items() if name not in camera_map and (key in renamed or key in blind)]
        typed = {**camera_map, **dict(zip(free, blind, strict=False))}
        pairs = ", ".join(f"{_word(view)}: {_word(target)}" for view, target in typed.items())
        raise ValueError(
            f"policy.camera_map gives the task's {own[blind[0]]!r} to another camera of {path}, so that {blind[0]} has "
            f"no view; name one for it too, as in 'policy.camera_map={{{pairs}}}'"
        )
    cameras = {renamed.get(key, name): key for key, name in own.items()}
    if len(cameras) != len(keys):
        raise ValueError(
            f"cameras {keys} of {path} share a name; name the task's camera for one of them, as in "
            f"'policy.camera_map={{front: {_word(keys[0])}}}'"
        )
    return cameras
