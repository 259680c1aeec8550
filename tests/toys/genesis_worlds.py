"""Genesis scenes, each built once per session: the first takes half a minute, each further one seconds."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from dsrl.interfaces import Step
from dsrl.task._tabletop import Tabletop
from dsrl.task.pick_place import PickPlace
from dsrl.task.simple_pick import SimplePick
from scripts.collect_demos.sloppy_operator import pick, pick_and_place

NUM_WORLDS = 4


@cache
def simple_pick(control: str = "hand", num_worlds: int = NUM_WORLDS, observation: str = "images") -> SimplePick:
    return SimplePick(num_worlds, control, "sparse", 24, image_size=96, backend="cpu", observation=observation)


@cache
def pick_place() -> PickPlace:
    return PickPlace(NUM_WORLDS, "hand", "sparse", max_steps=40, image_size=96, backend="cpu")


def restart(task: Tabletop, first_seed: int = 0) -> None:
    """Reset every world i of the task to seed first_seed + i."""
    task.reset(torch.arange(task.num_envs), list(range(first_seed, first_seed + task.num_envs)))


def perfect_targets(task: Tabletop) -> Tensor:
    """Return the gripper targets of an operator without errors: [B, steps, 4] (x, y, z, opening; m)."""
    cube, gripper = task.named_cube().numpy(), task.gripper().numpy()
    if isinstance(task, PickPlace):
        targets = pick_and_place(gripper, cube[:, :2], task.box.numpy())
    else:
        targets = pick(gripper, cube[:, :2])
    return torch.from_numpy(targets).float()


def play(task: Tabletop, targets: Tensor) -> list[Step]:
    return [task.step(task.action_towards(target)) for target in targets.unbind(1)]
