"""Records demonstrations of an expert, with noise in its actions, into a LeRobotDataset.

    python -m scripts.collect_expert --name push-v3 --out data/push-v3 --episodes 20
    python -m scripts.pretrain --policy flow_mlp --dataset data/push-v3 --out data/push-v3_base --chunk 8 --steps 3000
    python train.py task=metaworld task.name=push-v3 policy.path=data/push-v3_base

    python -m scripts.collect_expert --name PushT-v0 --out data/pusht --episodes 200
    python -m scripts.pretrain --policy diffusion --dataset data/pusht --out data/pusht_base

    python -m scripts.collect_expert --name libero_object/3 --out data/libero --episodes 20

The experts are MetaWorld's own scripts, for PushT-v0 a planner that simulates the pushes it chooses from, and for
LIBERO's pick-and-place tasks a script that reads where the objects are. Failed attempts are not recorded. Few and noisy
demonstrations leave a base policy that fails in many worlds.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scripts._demonstration_worlds import demonstration_world
from scripts._options import Parser, count, ending_in_a_sentence, new_folder, real, seed, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from dsrl.interfaces import Task
    from scripts.collect_rollouts import Frame

ATTEMPTS = 20  # per recorded episode, before an expert counts as failing
PUSHT = "PushT-v0"
LIBERO = re.compile(r"(libero_\w+)/(\d{1,4})")  # suite and number of a task


class Expert(Protocol):
    """Demonstrates a task in all of its worlds."""

    hz: int  # control steps of a second
    low: float  # of all actions
    high: float

    @property
    def task(self) -> Task:
        """Return the worlds that are demonstrated in."""

    @property
    def robot(self) -> int | None:
        """Return how many of the state's first numbers are the robot's, the others its surroundings'; None: all."""

    def begin(self) -> None:
        """Begin new episodes in all worlds."""

    def actions(self, over: Tensor) -> NDArray[Any]:
        """Return the wanted actions [B, A]; those of worlds that are `over` [B] do not matter."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the demonstrations and print how many attempts they took."""
    options = _options(arguments)
    import torch

    from scripts._complete_folder import complete_folder

    torch.set_num_threads(1)
    with ending_in_a_sentence(ImportError, ValueError), complete_folder(options.out, made=False) as out:
        expert = make_expert(options.name, options.num_envs, options.observation, options.image_size)
        noise = options.noise if options.noise is not None else (0.03 if options.name == PUSHT else 0.3)
        wanted = options.name == PUSHT if options.record is None else options.record == "wanted"
        attempts = collect(expert, options.name, out, options.episodes, noise, options.seed, wanted)
    print(f"{options.episodes} demonstrations of {attempts} attempts in {options.out}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.collect_expert", description=__doc__)
    parser.add_argument("--name", default="push-v3", help="task of MetaWorld (default push-v3), PushT-v0, "
                        "or suite and number of a task of LIBERO, such as libero_object/3")  # fmt: skip
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--episodes", type=count, default=20, help="demonstrations (default 20)")
    parser.add_argument("--noise", type=real(0.0, 2.0),
                        help="standard deviation added to each action, where its range is -1 to 1 "
                        "(default 0.3; PushT-v0: 0.03)")  # fmt: skip
    parser.add_argument("--record", choices=["executed", "wanted"],
                        help="actions with their noise, or as the expert wanted them, which are easier to clone "
                        "(default executed; PushT-v0: wanted)")  # fmt: skip
    parser.add_argument("--observation", choices=["state", "images"],
                        help="state renders nothing (default state; LIBERO: images)")  # fmt: skip
    parser.add_argument("--image-size", type=whole(8, 1024), default=96, help="pixels, square (default 96)")
    parser.add_argument("--num-envs", type=whole(1, 4096), default=8, help="worlds at a time (default 8)")
    parser.add_argument("--seed", type=seed, default=7, help="of the worlds and of the noise (default 7)")
    options = parser.parse_args(arguments)
    if options.name == PUSHT and options.image_size != 96:
        parser.error(f"--image-size {options.image_size} but PushT-v0 has 96 pixels; leave it out")
    if options.observation is None:
        options.observation = "images" if LIBERO.fullmatch(options.name) else "state"
    elif options.observation == "state" and LIBERO.fullmatch(options.name):
        parser.error(f"--observation state but {options.name} has images alone; leave it out")
    return options


def make_expert(name: str, num_envs: int, observation: str, image_size: int) -> Expert:
    """Return the expert of the task `name`, with its worlds and their usual episodes."""
    if name == PUSHT:
        from scripts.experts.pusht import PushTExpert

        return PushTExpert(num_envs, observation)
    if match := LIBERO.fullmatch(name):
        from scripts.experts.libero import LiberoExpert

        return LiberoExpert(match[1], int(match[2]), num_envs, image_size)
    from scripts.experts.metaworld import MetaWorldExpert

    return MetaWorldExpert(name, num_envs, observation, image_size)


def collect(expert: Expert, name: str, out: Path, episodes: int, noise: float, seed: int, wanted: bool = False) -> int:
    """Write `episodes` successful demonstrations into `out`; returns the number of attempts.

    `wanted` records the actions that the expert wanted, not those with noise that moved the world.

    Raises ValueError where fewer than one of 20 attempts succeeds.
    """
    import numpy as np

    from dsrl.training.lerobot_columns import DONE, SUCCESS, TRUNCATED
    from scripts._lerobot_dataset import create_dataset
    from scripts.collect_rollouts import rows_of

    generator, task = np.random.default_rng(seed), expert.task
    dataset: Any = None
    begin, done, attempts = time.perf_counter(), 0, 0
    while done < episodes:
        seeds = [demonstration_world(seed, attempts + i) for i in range(task.num_envs)]
        frames = play(expert, seeds, noise, generator, wanted)
        for world in range(task.num_envs):
            attempts += 1
            if done == episodes or not _succeeds(frames, world):
                continue
            flags = (DONE, TRUNCATED, SUCCESS)
            dataset = dataset or create_dataset(out, task, expert.hz, episodes, *flags, reward=True, robot=expert.robot)
            for row in rows_of(frames, world, expert.robot):
                dataset.add_frame(row)
            dataset.save_episode()
            done += 1
        if attempts >= ATTEMPTS * episodes and done < episodes:
            raise ValueError(f"--noise {noise} leaves {done} successes in {attempts} attempts at {name}; lower it")
        print(f"{done} demonstrations of {attempts} attempts, {time.perf_counter() - begin:.0f} s", flush=True)
    dataset.finalize()
    return attempts


def play(expert: Expert, seeds: Sequence[int], noise: float, generator: Any, record_wanted: bool) -> list[Frame]:
    """Return one attempt in every world, until all have ended.

    The noise moves the worlds and is part of the returned actions; `record_wanted` leaves it out of these, so that
    the attempt shows how the expert recovers (DART, Laskey et al. 2017).
    """
    import numpy as np
    import torch

    task, low, high = expert.task, expert.low, expert.high
    task.reset(torch.arange(task.num_envs), list(seeds))
    expert.begin()
    frames: list[Frame] = []
    over = torch.zeros(task.num_envs, dtype=torch.bool)
    while not over.all():
        wanted = np.clip(expert.actions(over), low, high)
        noisy = np.clip(wanted + generator.normal(0.0, noise * (high - low) / 2, wanted.shape), low, high)
        observation, executed = task.observe(), torch.from_numpy(noisy).float()
        step = task.step(executed)
        frames.append((observation, torch.from_numpy(wanted).float() if record_wanted else executed, step))
        over = step.terminated | step.truncated
    return frames


def _succeeds(frames: Sequence[Frame], world: int) -> bool:
    success = frames[-1][2].success
    assert success is not None
    return bool(success[world])


if __name__ == "__main__":
    main()
