"""Plays the frozen base policy under its own noise and records every control step into a LeRobotDataset.

    python -m scripts.collect_rollouts --out data/rollouts --episodes 256
    python -m scripts.collect_rollouts --out data/rollouts --episodes 256 task=pick_place horizon=4

Any keys of train.py choose policy, task and worlds at a time (num_envs). The dataset has `next.reward`, `next.done`,
`next.truncated` and, where the task defines it, `next.success`: python train.py sac=dsrl_na offline_data=data/rollouts
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts._options import Parser, count, ending_in_a_sentence, new_folder, seed, whole

if TYPE_CHECKING:
    from torch import Tensor

    from dsrl.interfaces import Observation, Step, Task

    Frame = tuple[Observation, Tensor, Step]  # of all worlds: observation, action [B, A], result

UNKNOWN_FPS = 10  # of tasks that have no control frequency


class IncompleteError(Exception):
    """Task or policy failed, or a signal came, after whole episodes, which are in the dataset; `cause` is how."""

    def __init__(self, done: int, episodes: int, cause: BaseException) -> None:
        """done: the recorded ones of `episodes`."""
        end = "failure" if isinstance(cause, Exception) else "stop"
        super().__init__(f"{done} of {episodes} episodes were recorded before the {end}")
        self.cause = cause


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the episodes and print their number of steps and mean score."""
    options = _options(arguments)
    from dsrl.run.saved.eval_failure import noting_failure_in

    with (
        ending_in_a_sentence(ImportError),
        noting_failure_in(options.out.parent, f"{options.out.name}_failure.txt"),
    ):
        _record(options)


def _record(options: argparse.Namespace) -> None:
    from scripts._complete_folder import complete_folder
    from scripts._parts import build_parts

    failed: IncompleteError | None = None
    with complete_folder(options.out, made=False) as out:
        parts = build_parts(options.overrides)
        try:
            steps, score = collect(parts, out, options.episodes, options.seed, options.fps)
        except IncompleteError as error:  # not further, or the folder would be deleted
            failed = error
    if failed is not None:
        print(f"{failed}, in {options.out}")
        raise failed.cause
    print(f"{steps} control steps, mean score {score:.3f}, in {options.out}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m scripts.collect_rollouts", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="keys of train.py, such as policy.path=my/policy")
    parser.add_argument("--out", type=new_folder, required=True, help="folder of the new dataset; must not exist")
    parser.add_argument("--episodes", type=count, default=256, help="episodes to record (default 256)")
    parser.add_argument("--seed", type=seed, default=1, help="of the worlds, which training may also draw (default 1)")
    parser.add_argument("--fps", type=whole(1, 10_000),
                        help="control steps per second of the dataset (default the task's, "
                        f"{UNKNOWN_FPS} where it has none)")  # fmt: skip
    return parser.parse_intermixed_args(arguments)


def collect(parts: Any, out: Path, episodes: int, seed: int, fps: int | None = None) -> tuple[int, float]:
    """Write `episodes` episodes of the frozen policy into `out`; returns control steps and mean score.

    Their worlds are drawn from `seed`, among those that training draws from; `fps` None is the task's control
    frequency. Where task or policy fail, or at Ctrl-C and SIGTERM, it raises IncompleteError, or the same error
    before the first episode.
    """
    from dsrl.evaluation.episodes import play_worlds
    from dsrl.evaluation.noise_sources import base_noise
    from dsrl.noise_action_env import NoiseActionEnv
    from dsrl.run.components.parts import whole_fps
    from dsrl.training.lerobot_columns import DONE, SUCCESS, TRUNCATED
    from scripts._lerobot_dataset import create_dataset

    task = RecordingTask(parts.task)
    env = NoiseActionEnv(task, parts.policy, parts.noise, parts.env.horizon)
    env.seed(seed)
    seeds, flags = env.draw_seeds(episodes), (DONE, TRUNCATED, *([SUCCESS] if task.has_success else []))
    hz = fps or whole_fps(parts.task) or UNKNOWN_FPS
    dataset = create_dataset(out, parts.task, hz, episodes, *flags, reward=True)
    steps, score, begin, came = 0, 0.0, time.monotonic(), list[int]()
    for start in range(0, episodes, len(env)):
        batch = seeds[start : start + len(env)]
        try:
            for number in came:
                signal.raise_signal(number)
            result = play_worlds(env, base_noise(parts.policy.noise_shape), batch)
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # of any simulator, or a signal
            if start == 0:
                raise
            dataset.finalize()
            raise IncompleteError(start, episodes, error) from error
        with _delayed_signals(came):
            steps += _write(dataset, task.frames, len(batch))
        score += result.score * len(batch)
        done = start + len(batch)
        print(f"{done} episodes, mean score {score / done:.3f}, {time.monotonic() - begin:.0f} s", flush=True)
    dataset.finalize()
    return steps, score / episodes


def _write(dataset: Any, frames: Sequence[Frame], worlds: int) -> int:
    """Write an episode of each of the first `worlds` worlds; returns their control steps."""
    steps = 0
    for world in range(worlds):
        for row in rows_of(frames, world):
            dataset.add_frame(row)
            steps += 1
        dataset.save_episode()
    return steps


@contextmanager
def _delayed_signals(came: list[int]) -> Iterator[None]:
    """Append Ctrl-C and SIGTERM to `came` while the block runs: an episode is written whole or not at all."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread handle signals
        yield
        return
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda one, frame: came.append(one)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class RecordingTask:
    """A task that behaves like the one it wraps and records observation, action and result of every control step."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.num_envs, self.state_dim, self.action_dim = task.num_envs, task.state_dim, task.action_dim
        self.cameras: Mapping[str, tuple[int, int, int]] = task.cameras
        self.max_steps, self.has_success = task.max_steps, task.has_success
        self.frames: list[Frame] = []

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        """Reset the wrapped task and delete the recorded frames."""
        self._task.reset(rows, seeds)
        self.frames = []

    def observe(self) -> Observation:
        """Return the observation of the wrapped task."""
        return self._task.observe()

    def hold(self) -> Tensor:
        """Return the holding action of the wrapped task."""
        return self._task.hold()

    def step(self, action: Tensor) -> Step:
        """Observe, step the wrapped task and record copies of both: a task may change in place what it has returned.

        Where the task has bounds it gets the action within them, which is then what it executes.
        """
        import torch

        from dsrl.interfaces import BoundedActions, Step
        from dsrl.rules import task_rules

        executed = action.clone()
        if isinstance(self._task, BoundedActions):
            executed = action.clamp(self._task.action_low.to(action), self._task.action_high.to(action))
        observation = self._task.observe()[torch.arange(self.num_envs)]
        step = task_rules.step_all(self._task, executed.clone())
        success = None if step.success is None else step.success.clone()
        copied = Step(step.reward.clone(), step.terminated.clone(), step.truncated.clone(), success)
        self.frames.append((observation, executed, copied))
        return step


def rows_of(frames: Sequence[Frame], world: int, robot: int | None = None) -> Iterator[dict[str, Any]]:
    """Return the frames of one world up to its end, in lerobot's format; `robot` is that of `columns_of`."""
    from dsrl.training.lerobot_columns import ACTION, DONE, REWARD, STATE, SUCCESS, SURROUNDINGS, TRUNCATED, image_keys

    keys = image_keys(frames[0][0].images) if frames else {}
    for observation, action, step in frames:
        over = step.terminated[world] | step.truncated[world]
        state = observation.state[world].float().numpy()
        yield {
            **{keys[name]: image[world].permute(1, 2, 0).numpy() for name, image in observation.images.items()},
            STATE: state[:robot],
            **({} if robot is None else {SURROUNDINGS: state[robot:]}),
            ACTION: action[world].float().numpy(),
            REWARD: step.reward[world : world + 1].float().numpy(),
            DONE: over[None].numpy(),
            TRUNCATED: (step.truncated & ~step.terminated)[world : world + 1].numpy(),
            **({} if step.success is None else {SUCCESS: step.success[world : world + 1].numpy()}),
            "task": observation.instruction[world],
        }
        if over:
            return


if __name__ == "__main__":
    main()
