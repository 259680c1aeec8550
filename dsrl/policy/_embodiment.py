"""Compares the cameras, state and action of a checkpoint with those of a task and of every observation.

    task camera "top" --camera_map--> checkpoint key "observation.images.front" --saved preprocessor--> image feature

Cameras are matched by name, never by order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE

from dsrl.interfaces import Observation, Task
from dsrl.policy._lerobot import processor_step


@dataclass(frozen=True)
class Embodiment:
    """The robot that a checkpoint was trained on."""

    path: str  # as the user typed it, for messages
    cameras: Mapping[str, str]  # task camera -> key that the saved preprocessor takes
    image_shapes: Mapping[str, tuple[int, ...]]  # task camera -> (3, H, W) of the training images
    state_dim: int
    action_dim: int

    def check_fits(self, task: Task) -> None:
        """Compare with a task before it simulates; raises ValueError with the difference and what to type."""
        missing = sorted(set(self.cameras) - set(task.cameras))
        if missing:
            free = sorted(set(task.cameras) - set(self.cameras)) or ["<task camera>"]
            raise ValueError(
                f"policy.path={self.path} has cameras {sorted(self.cameras)} but the task has "
                f"{sorted(task.cameras)}; where two are the same view, type "
                f"'policy.camera_map={{{free[0]}: {missing[0]}}}'"
            )
        for name, ours, theirs in (
            ("state", self.state_dim, task.state_dim),
            ("action", self.action_dim, task.action_dim),
        ):
            if ours != theirs:
                raise ValueError(
                    f"policy.path={self.path} has a {ours}-dim {name} but the task has a {theirs}-dim one; "
                    "choose a checkpoint trained on this robot and control, or another task"
                )

    def as_batch(self, observation: Observation, device: torch.device) -> dict[str, Any]:
        """Convert an observation to the names and ranges of lerobot's preprocessor; images in [0, 1].

        Raises:
            ValueError: for a camera, a state or an image that lerobot would silently drop, pad or misread.
        """
        state = observation.state
        if state.ndim != 2 or state.shape[1] != self.state_dim:
            raise ValueError(f"the observed state is {tuple(state.shape)} but {self.path} takes [B, {self.state_dim}]")
        batch: dict[str, Any] = {OBS_STATE: state.to(device, torch.float32, copy=True)}
        for camera, key in self.cameras.items():
            image = observation.images.get(camera)
            if image is None:
                raise ValueError(
                    f"{self.path} needs camera {camera!r} but the observation has {list(observation.images)}"
                )
            if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
                raise ValueError(
                    f"camera {camera!r} gave {image.dtype} {tuple(image.shape)} but images are uint8 [B, 3, H, W]"
                )
            batch[key] = image.to(device).float() / 255
        batch["task"] = list(observation.instruction)
        return batch


def read_embodiment(path: str, config: Any, preprocessor: Any, camera_map: Mapping[str, str]) -> Embodiment:
    """Read the embodiment of a lerobot checkpoint from its configuration and its saved preprocessor.

    Raises:
        ValueError: if `camera_map` ({task camera: checkpoint camera}) names no camera of the checkpoint, or one twice.
    """
    rename = processor_step(preprocessor, "rename_observations_processor")
    inverse = {new: old for old, new in rename.rename_map.items()} if rename else {}
    shapes = {inverse.get(key, key): config.image_features[key].shape for key in image_keys(config)}
    cameras = _name_cameras(path, list(shapes), camera_map)
    return Embodiment(
        path=path,
        cameras=cameras,
        image_shapes={camera: tuple(shapes[key]) for camera, key in cameras.items()},
        state_dim=config.robot_state_feature.shape[0],
        action_dim=config.action_feature.shape[0],
    )


def check_features(config: Any, checkpoint: Path) -> None:
    """Check that a lerobot configuration has a state, an action and cameras of the shapes that a policy pads to.

    Raises:
        ValueError: if one is missing or has another shape.
    """
    file, state, action = checkpoint / "config.json", config.robot_state_feature, config.action_feature
    if state is None or action is None:
        raise ValueError(f"{file} names no {OBS_STATE} or no {ACTION}; it cannot drive a robot")
    if not image_keys(config):
        raise ValueError(f"{file} names no camera, and {config.type} needs one; train it with images")
    for name, shape, most in (
        (OBS_STATE, state.shape, config.max_state_dim),
        (ACTION, action.shape, config.max_action_dim),
    ):
        if len(shape) != 1 or shape[0] > most:
            raise ValueError(f"{file} gives {name} the shape {list(shape)} but it must be [1] to [{most}]")
    for key in image_keys(config):
        shape = config.image_features[key].shape
        if len(shape) != 3 or shape[0] != 3:
            raise ValueError(f"{file} gives {key} the shape {list(shape)} but images are [3, H, W]")


def image_keys(config: Any) -> list[str]:
    """Return the keys of the model's images without `empty_camera_<i>`, which lerobot fills with black."""
    return [key for key in config.image_features if ".empty_camera_" not in key]


def _name_cameras(path: str, keys: list[str], camera_map: Mapping[str, str]) -> dict[str, str]:
    """Map task cameras to keys; a camera has the last part of its key as name unless `camera_map` renames it."""
    renamed: dict[str, str] = {}
    for camera, target in camera_map.items():
        matches = [key for key in keys if target in (key, key.rsplit(".", 1)[-1])]
        if len(matches) != 1:
            raise ValueError(
                f"policy.camera_map names {target!r} but the cameras of {path} are {keys}; type one of them"
            )
        if matches[0] in renamed:
            raise ValueError(f"policy.camera_map gives {matches[0]} two task cameras; name it once")
        renamed[matches[0]] = camera
    cameras = {renamed.get(key, key.rsplit(".", 1)[-1]): key for key in keys}
    if len(cameras) != len(keys):
        raise ValueError(f"cameras {keys} of {path} share a name; rename one with policy.camera_map")
    return cameras
