"""Play the frozen base policy under its own noise and record every control step into a real LeRobotDataset.

    python -m scripts.collect_rollouts --out data/rollouts --episodes 256
    python -m scripts.collect_rollouts --out data/rollouts --episodes 256 task=pick_place horizon=4

Any keys of train.py choose policy, task and worlds at a time (num_envs). The dataset has `next.reward`, `next.done`,
`next.truncated` and, where the task knows it, `next.success`: python train.py sac=dsrl_na offline_data=data/rollouts
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported: spinning threads starve each other

from torch import Tensor

from dsrl.interfaces import Observation, Step, Task
from dsrl.training.lerobot_columns import ACTION, DONE, IMAGES, REWARD, STATE, SUCCESS, TRUNCATED, columns_of

CONTROL_HZ = 10  # of the Genesis tasks
Frame = tuple[Observation, Tensor, Step]  # of all worlds: what was seen, what was done, what it brought


class Observed:
    """A task that behaves like the one it wraps and keeps what all worlds see and do at every control step."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.num_envs, self.state_dim, self.action_dim = task.num_envs, task.state_dim, task.action_dim
        self.cameras: Mapping[str, tuple[int, int, int]] = task.cameras
        self.max_steps, self.has_success = task.max_steps, task.has_success
        self.frames: list[Frame] = []

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """As the wrapped task; what was kept is forgotten."""
        self._task.reset(rows, seeds)
        self.frames = []

    def observe(self) -> Observation:
        """As the wrapped task."""
        return self._task.observe()

    def hold(self) -> Tensor:
        """As the wrapped task."""
        return self._task.hold()

    def step(self, action: Tensor) -> Step:
        """As the wrapped task, after a look."""
        seen = self._task.observe()
        step = self._task.step(action)
        self.frames.append((seen, action.clone(), step))
        return step


def create_dataset(out: Path, task: Task, hz: int, episodes: int) -> Any:
    """An empty LeRobotDataset for what `task` shows, takes and tells `hz` times a second.

    It is one part for `episodes` and fewer.

    lerobot gives the statistics of flags other types where all episodes of a part have a single frame.
    """
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()  # one per episode
    flags = (DONE, TRUNCATED, *([SUCCESS] if task.has_success else []))
    threads = 2 if task.cameras else 0
    return LeRobotDataset.create(
        f"local/{out.name}",
        hz,
        columns_of(task, *flags, reward=True),
        root=out,
        use_videos=False,
        image_writer_threads=threads,
        metadata_buffer_size=episodes + 1,
    )


def rows_of(frames: Sequence[Frame], world: int) -> Iterator[dict[str, Any]]:
    """The frames of one world up to its end, as lerobot takes them."""
    for seen, action, step in frames:
        over = step.terminated[world] | step.truncated[world]
        yield {
            **{IMAGES + name: image[world].permute(1, 2, 0).numpy() for name, image in seen.images.items()},
            STATE: seen.state[world].float().numpy(),
            ACTION: action[world].float().numpy(),
            REWARD: step.reward[world : world + 1].float().numpy(),
            DONE: over[None].numpy(),
            TRUNCATED: (step.truncated & ~step.terminated)[world : world + 1].numpy(),
            **({} if step.success is None else {SUCCESS: step.success[world : world + 1].numpy()}),
            "task": seen.instruction[world],
        }
        if over:
            return


def collect(parts: Any, out: Path, episodes: int, seed: int) -> tuple[int, float]:
    """Write `episodes` episodes of the frozen policy into `out`; returns control steps and mean score.

    World i of them is drawn from `seed`, among those that training draws from.
    """
    from dsrl.evaluation.episodes import base_noise, play_worlds
    from dsrl.noise_action_env import NoiseActionEnv

    task = Observed(parts.task)
    env = NoiseActionEnv(task, parts.policy, parts.noise, parts.env.horizon)
    env.seed(seed)
    seeds, dataset = env.draw_seeds(episodes), create_dataset(out, parts.task, CONTROL_HZ, episodes)
    steps, score, begin = 0, 0.0, time.monotonic()
    for start in range(0, episodes, len(env)):
        batch = seeds[start : start + len(env)]
        result = play_worlds(env, base_noise(parts.policy.noise_shape), batch)
        for world in range(len(batch)):
            for row in rows_of(task.frames, world):
                dataset.add_frame(row)
                steps += 1
            dataset.save_episode()
        score += result.score * len(batch)
        done = start + len(batch)
        print(f"{done} episodes, mean score {score / done:.3f}, {time.monotonic() - begin:.0f} s", flush=True)
    dataset.finalize()
    return steps, score / episodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1, help="of the worlds, which training may meet")
    options = parser.parse_intermixed_args()
    if options.out.exists():
        parser.error(f"--out {options.out} exists already; name a new folder or delete it")
    from hydra.errors import HydraException

    from dsrl.run.errors import UserError
    from scripts.parts import build_parts

    try:
        parts = build_parts(options.overrides)
    except (UserError, HydraException) as error:
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None
    steps, score = collect(parts, options.out, options.episodes, options.seed)
    print(f"{steps} control steps, mean score {score:.3f}, in {options.out}")


if __name__ == "__main__":
    main()
