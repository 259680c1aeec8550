"""Checks what a task returns at each call: types and shapes alone, which cost nothing beside a step of any simulator.

observe, observe_rows   state [n, state_dim] float, an image uint8 [n, 3, H, W] for each camera, n instructions
picture                 uint8 [n, 3, H, W]
step                    reward [B] float, flags [B] bool, success where has_success is true and only there
hold                    [B, action_dim]
of an episode           an end within max_steps
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dsrl.interfaces import Filmable, Observation, ObservesRows, Step, Task
from dsrl.rules._described import described


def observe(task: Task, worlds: Tensor) -> Observation:
    """Observe rows `worlds` (int64 [n]), alone where the task can. Raises ValueError for no such observation."""
    if isinstance(task, ObservesRows):
        return _checked(task, task.observe_rows(worlds), len(worlds), "observe_rows")
    return _checked(task, task.observe(), task.num_envs, "observe")[worlds]


def step(task: Task, action: Tensor, active: Tensor) -> Step:
    """Advance `active` worlds [B] by action [B, A], the others by `hold`. Raises ValueError for a wrong result."""
    return step_all(task, torch.where(active[:, None], action, hold(task).to(action)))


def step_all(task: Task, action: Tensor) -> Step:
    """Advance all worlds by action [B, A]. Raises ValueError for a wrong result."""
    found = task.step(action)
    name, worlds = f"task {type(task).__name__}.step returned", f"{task.num_envs} worlds"
    if not isinstance(found, Step):
        raise ValueError(f"{name} {described(found)}; return a Step of dsrl.interfaces")
    if (found.success is not None) != task.has_success:
        has = "None" if found.success is None else described(found.success)
        raise ValueError(f"{name} success {has} but has_success is {task.has_success}; correct the one or the other")
    _check(f"{name} reward", found.reward, [task.num_envs], "float", worlds)
    for flag in ("terminated", "truncated", "success") if task.has_success else ("terminated", "truncated"):
        _check(f"{name} {flag}", getattr(found, flag), [task.num_envs], "bool", worlds)
    return found


def hold(task: Task) -> Tensor:
    """Return the action [B, A] that ended worlds are parked by. Raises ValueError for anything else."""
    action = task.hold()
    _check(
        f"task {type(task).__name__}.hold returned",
        action,
        [task.num_envs, task.action_dim],
        "",
        f"{task.num_envs} worlds and action_dim",
    )
    return action


def picture(task: Filmable, num: int) -> Tensor:
    """Draw the first `num` worlds for people, uint8 [num, 3, H, W]. Raises ValueError for anything else."""
    found, name = task.picture(num), f"task {type(task).__name__}.picture returned"
    drawn = isinstance(found, Tensor) and found.ndim == 4 and found.shape[:2] == (num, 3)
    if not drawn or found.dtype != torch.uint8:
        raise ValueError(f"{name} {_seen(found)} but {num} worlds make a torch tensor [{num}, 3, H, W] of uint8")
    return found


def check_length(task: Task, left: Tensor, ended: Tensor) -> None:
    """Raise ValueError for an episode of more than max_steps control steps.

    left: how many of them each world has not played, int64 [B], negative beyond them; ended: whether it has ended, [B].
    """
    late = (left < 0) | ((left == 0) & ~ended)
    if late.any():
        worlds = late.nonzero()[:, 0].tolist()
        raise ValueError(
            f"task {type(task).__name__}.step has not ended the episode of world {worlds} within its max_steps="
            f"{task.max_steps}; set truncated at that step, or a larger max_steps"
        )


def _checked(task: Task, found: Any, num: int, method: str) -> Observation:
    name = f"task {type(task).__name__}.{method} returned"
    if not isinstance(found, Observation):
        raise ValueError(f"{name} {described(found)}; return an Observation of dsrl.interfaces")
    _check(f"{name} state", found.state, [num, task.state_dim], "float", f"{num} worlds and state_dim")
    if not isinstance(found.images, Mapping) or set(found.images) != set(task.cameras):
        has = sorted(found.images) if isinstance(found.images, Mapping) else described(found.images)
        raise ValueError(
            f"{name} images {has} but cameras are {sorted(task.cameras)}; return a dictionary with an image for each "
            "camera, {} without any"
        )
    for camera, shape in task.cameras.items():
        _check(f"{name} image {camera!r}", found.images[camera], [num, *shape], "uint8", f"{num} worlds and cameras")
    sentences = found.instruction
    if (
        not isinstance(sentences, tuple | list)
        or len(sentences) != num
        or not all(isinstance(one, str) for one in sentences)
    ):
        raise ValueError(
            f'{name} instruction {sentences!r:.100} but {num} worlds take a tuple of {num} texts, "" for none'
        )
    return found


def _check(returned: str, found: Any, shape: list[int], kind: str, of: str) -> None:
    """Raise ValueError for anything but a tensor of `shape` and `kind`: float of any precision, "" any type."""
    tensor = isinstance(found, Tensor)
    if tensor and list(found.shape) == shape and (not kind or _type(found) == kind):
        return
    raise ValueError(f"{returned} {_seen(found)} but {of} make a torch tensor {shape}{f' of {kind}' if kind else ''}")


def _type(tensor: Tensor) -> str:
    return "float" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")


def _seen(found: Any) -> str:
    return f"{list(found.shape)} of {_type(found)}" if isinstance(found, Tensor) else described(found)
