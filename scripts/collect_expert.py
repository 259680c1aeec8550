"""Records demonstrations of MetaWorld's scripted experts, with noise in their actions, into a LeRobotDataset.

    python -m scripts.collect_expert --name push-v3 --out data/push-v3 --episodes 20
    python -m scripts.pretrain --policy flow_mlp --dataset data/push-v3 --out data/push-v3_base --chunk 8 --steps 3000
    python train.py task=metaworld task.name=push-v3 policy.path=data/push-v3_base

Failed attempts are not recorded. Few and noisy demonstrations leave a base policy that fails in many worlds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scripts.options import Parser, count, new_folder, one_sentence, real, seed, whole

if TYPE_CHECKING:
    from dsrl.task.metaworld import MetaWorldTask
    from scripts.collect_rollouts import Frame

CONTROL_HZ = 80  # of MetaWorld
ATTEMPTS = 20  # per recorded episode, before an expert counts as failing


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the demonstrations and print how many attempts they took."""
    options = _options(arguments)
    import torch

    torch.set_num_threads(1)
    with one_sentence(ImportError, ValueError):
        task = make_task(options.name, options.num_envs, options.observation, options.image_size)
        attempts = collect(task, options.name, options.out, options.episodes, options.noise, options.seed)
    print(f"{options.episodes} demonstrations of {attempts} attempts in {options.out}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.collect_expert", description=__doc__)
    parser.add_argument("--name", default="push-v3", help="task of MetaWorld (default push-v3)")
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--episodes", type=count, default=20, help="demonstrations (default 20)")
    parser.add_argument("--noise", type=real(0.0, 2.0), default=0.3,
                        help="standard deviation added to each action of -1 to 1 (default 0.3)")  # fmt: skip
    parser.add_argument("--observation", choices=["state", "images"], default="state", help="state renders nothing")
    parser.add_argument("--image-size", type=whole(8, 1024), default=96, help="pixels, square (default 96)")
    parser.add_argument("--num-envs", type=whole(1, 4096), default=8, help="worlds at a time (default 8)")
    parser.add_argument("--seed", type=seed, default=7, help="of the worlds and of the noise (default 7)")
    return parser.parse_args(arguments)


def make_task(name: str, num_envs: int, observation: Literal["state", "images"], image_size: int) -> MetaWorldTask:
    """Return the MetaWorld task `name` with its usual episodes."""
    from dsrl.task.metaworld import MetaWorldTask

    return MetaWorldTask(name, num_envs, observation, "sparse", 200, ["corner2"], image_size)


def collect(task: MetaWorldTask, name: str, out: Path, episodes: int, noise: float, seed: int) -> int:
    """Write `episodes` successful demonstrations into `out`; returns the number of attempts.

    Raises ValueError where fewer than one of 20 attempts succeeds.
    """
    import numpy as np
    from metaworld.policies import ENV_POLICY_MAP

    from dsrl.training.lerobot_columns import DONE, SUCCESS, TRUNCATED
    from scripts.collect_rollouts import rows_of
    from scripts.lerobot_dataset import create_dataset

    generator, expert = np.random.default_rng(seed), ENV_POLICY_MAP[name]()
    dataset: Any = None
    begin, done, attempts = time.perf_counter(), 0, 0
    while done < episodes:
        seeds = [seed * 1_000_003 + attempts + i for i in range(task.num_envs)]
        frames = play(task, expert, seeds, noise, generator)
        for world in range(task.num_envs):
            attempts += 1
            if done == episodes or not _succeeds(frames, world):
                continue
            dataset = dataset or create_dataset(out, task, CONTROL_HZ, episodes, DONE, TRUNCATED, SUCCESS, reward=True)
            for row in rows_of(frames, world):
                dataset.add_frame(row)
            dataset.save_episode()
            done += 1
        if attempts >= ATTEMPTS * episodes and done < episodes:
            raise ValueError(f"--noise {noise} leaves {done} successes in {attempts} attempts at {name}; lower it")
        print(f"{done} demonstrations of {attempts} attempts, {time.perf_counter() - begin:.0f} s", flush=True)
    dataset.finalize()
    return attempts


def play(task: MetaWorldTask, expert: Any, seeds: Sequence[int], noise: float, generator: Any) -> list[Frame]:
    """Return one attempt in every world, until all have ended. The noise is part of the recorded action."""
    import numpy as np
    import torch

    task.reset(torch.arange(task.num_envs), list(seeds))
    frames: list[Frame] = []
    warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")  # of the experts: they are clipped here
    over = torch.zeros(task.num_envs, dtype=torch.bool)
    while not over.all():
        wanted = np.stack([expert.get_action(world) for world in task.numbers().numpy()])
        noisy = np.clip(np.clip(wanted, -1, 1) + generator.normal(0.0, noise, wanted.shape), -1, 1)
        observation, action = task.observe(), torch.from_numpy(noisy).float()
        step = task.step(action)
        frames.append((observation, action, step))
        over = step.terminated | step.truncated
    return frames


def _succeeds(frames: Sequence[Frame], world: int) -> bool:
    success = frames[-1][2].success
    assert success is not None
    return bool(success[world])


if __name__ == "__main__":
    main()
