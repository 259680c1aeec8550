"""Plays the sloppy operator in many worlds at a time and writes its demonstrations into a LeRobotDataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dsrl.interfaces import Observation
from dsrl.task._tabletop import Tabletop
from dsrl.training.lerobot_columns import ACTION, IMAGES, STATE, SUCCESS
from scripts._demonstration_worlds import demonstration_world
from scripts._lerobot_dataset import create_dataset
from scripts.collect_demos.sloppy_operator import pick, pick_and_place, sloppiness

MAX_STEPS = {"simple_pick": 24, "pick_place": 40}  # control steps of the operator's script

Frames = list[tuple[Observation, Tensor, Tensor]]  # per control step: observation, action [B, A], success so far [B]


def make_task(
    name: str,
    num_envs: int,
    control: Literal["hand", "joint"],
    image_size: int,
    observation: Literal["images", "state"],
) -> Tabletop:
    """Return the Genesis task `name`; its simulation starts at the first reset."""
    from dsrl.task.pick_place import PickPlace
    from dsrl.task.simple_pick import SimplePick

    kind = {"simple_pick": SimplePick, "pick_place": PickPlace}[name]
    return kind(num_envs, control, "sparse", MAX_STEPS[name], image_size, "cpu", observation)


def collect(task: Tabletop, out: Path, episodes: int, seed: int, mean: float, spread: float) -> None:
    """Write `episodes` demonstrations into `out`, with one printed line per batch of worlds.

    mean, spread: of the operator's regression to the middle of the table (m).
    """
    dataset = create_dataset(out, task, task.fps, episodes, SUCCESS)
    generator = np.random.default_rng(seed)
    begin, done, succeeded = time.perf_counter(), 0, 0
    while done < episodes:
        rows = range(min(task.num_envs, episodes - done))
        seeds = [demonstration_world(seed, done + i) for i in range(task.num_envs)]
        frames = play(task, seeds, generator, mean, spread)
        write(dataset, frames, rows)
        done += len(rows)
        succeeded += int(frames[-1][2][: len(rows)].sum())
        print(f"{done} demonstrations, {succeeded / done:.1%} succeed, {time.perf_counter() - begin:.0f} s", flush=True)
    dataset.finalize()


def play(task: Tabletop, seeds: list[int], generator: np.random.Generator, mean: float, spread: float) -> Frames:
    """Return one demonstration in every world, to the end of the script whether it succeeds or not."""
    task.reset(torch.arange(task.num_envs), seeds)
    cube, gripper = task.named_cube().numpy(), task.gripper().numpy()
    reach = cube[:, :2] + sloppiness(cube, generator, mean, spread)
    box = getattr(task, "box", None)
    targets = pick(gripper, reach) if box is None else pick_and_place(gripper, reach, box.numpy())
    frames = []
    success = torch.zeros(task.num_envs, dtype=torch.bool)
    for target in torch.from_numpy(targets).float().unbind(1):
        observation = task.observe()
        action = task.action_towards(target)
        step = task.step(action)
        assert step.success is not None
        success = success | step.success
        frames.append((observation, action, success))
    return frames


def write(dataset: Any, frames: Frames, rows: range) -> None:
    """Add the demonstrations of some worlds to a dataset, one episode each."""
    for row in rows:
        for observation, action, success in frames:
            images = observation.images.items()
            dataset.add_frame(
                {
                    **{f"{IMAGES}{name}": image[row].permute(1, 2, 0).numpy() for name, image in images},
                    STATE: observation.state[row].numpy(),
                    ACTION: action[row].numpy(),
                    SUCCESS: success[row : row + 1].numpy(),
                    "task": observation.instruction[row],
                }
            )
        dataset.save_episode()
