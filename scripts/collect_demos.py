"""Record scripted demonstrations of mixed quality, many worlds at a time, into a real LeRobotDataset.

python -m scripts.collect_demos --out data/simple_pick --episodes 2560 --seed 7
python -m scripts.collect_demos --out data/simple_pick_state --episodes 2560 --seed 7 --observation state
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dsrl.task._tabletop import Tabletop
from dsrl.training.lerobot_columns import SUCCESS, columns_of
from scripts.sloppy_operator import pick, pick_and_place, sloppiness

CONTROL_HZ = 10  # of the Genesis tasks


def make_task(
    name: str,
    num_envs: int,
    control: Literal["hand", "joint"],
    image_size: int,
    observation: Literal["images", "state"],
) -> Tabletop:
    from dsrl.task.pick_place import PickPlace
    from dsrl.task.simple_pick import SimplePick

    kind = {"simple_pick": SimplePick, "pick_place": PickPlace}[name]
    max_steps = 40 if name == "pick_place" else 24
    return kind(num_envs, control, "sparse", max_steps, image_size, "cpu", observation)


def create_dataset(out: Path, task: Tabletop, name: str) -> Any:
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()  # one per episode
    features = columns_of(task, SUCCESS)
    return LeRobotDataset.create(
        f"dsrl/{name}", CONTROL_HZ, features, root=out, robot_type="panda", use_videos=False, image_writer_threads=2
    )


def record(task: Tabletop, seeds: list[int], generator: np.random.Generator, mean: float, spread: float) -> Episodes:
    """Run one batch of demonstrations to the end of the script, whatever becomes of the cube."""
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


Episodes = list[tuple[Any, torch.Tensor, torch.Tensor]]  # per control step: observation, action, success so far


def write(dataset: Any, frames: Episodes, rows: range) -> None:
    for row in rows:
        for observation, action, success in frames:
            dataset.add_frame(
                {
                    **{
                        f"observation.images.{name}": image[row].permute(1, 2, 0).numpy()
                        for name, image in observation.images.items()
                    },
                    "observation.state": observation.state[row].numpy(),
                    "action": action[row].numpy(),
                    "next.success": success[row : row + 1].numpy(),
                    "task": observation.instruction[row],
                }
            )
        dataset.save_episode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["simple_pick", "pick_place"], default="simple_pick")
    parser.add_argument("--control", choices=["hand", "joint"], default="hand")
    parser.add_argument("--observation", choices=["images", "state"], default="images", help="state draws nothing")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--episodes", type=int, default=2560)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--sloppiness", type=float, nargs=2, default=(0.042, 0.02), metavar=("MEAN", "SPREAD"),
                        help="metres of regression to the middle; 0 0 is the perfect expert")  # fmt: skip
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"--out {options.out} exists already; name a new folder or delete it")
    torch.set_num_threads(1)
    task = make_task(options.task, options.num_envs, options.control, options.image_size, options.observation)
    dataset = create_dataset(options.out, task, options.task)
    generator = np.random.default_rng(options.seed)
    started, done, succeeded = time.perf_counter(), 0, 0
    while done < options.episodes:
        rows = range(min(options.num_envs, options.episodes - done))
        seeds = [options.seed * 1_000_003 + done + i for i in range(options.num_envs)]
        frames = record(task, seeds, generator, *options.sloppiness)
        write(dataset, frames, rows)
        done += len(rows)
        succeeded += int(frames[-1][2][: len(rows)].sum())
        print(
            f"{done} demonstrations, {succeeded / done:.1%} succeed, {time.perf_counter() - started:.0f} s", flush=True
        )
    dataset.finalize()


if __name__ == "__main__":
    main()
