"""Decisions that nobody took here: the actions of a LeRobotDataset, cut into chunks, enter replay with what was seen.

    frames  o_0 a_0  o_1 a_1  …   ->   (o_0, a_0 … a_{h-1}, r, o_h), (o_h, …), …        h = horizon

An episode counts up to its end for good: the first `next.success`; without that column the first `next.done`; without
either, its last frame, as a demonstration that reaches its goal. `next.truncated` makes an end one of the clock.
Rewards are `next.reward`, else 1 at the end for good. The last chunk of an episode is filled up with its last action,
and an end by the clock bootstraps from the last frame that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsrl.interfaces import Observation
from dsrl.noise_action_env import Decision, NoiseActionEnv
from dsrl.training.lerobot_columns import ACTION, DONE, IMAGES, REWARD, STATE, SUCCESS, TRUNCATED, dataset_named
from dsrl.training.replay_format import write_decision

AT_ONCE = 64  # decisions whose looks are encoded together
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Cut:
    """One chunk of an episode."""

    before: int  # the frame that was looked at
    after: int  # the frame that came then; of an end for good, the same as before
    chunk: NDArray[np.float32]  # [horizon, A]
    reward: float
    terminated: bool
    truncated: bool
    env_steps: int


def cut_episode(columns: Columns, horizon: int, first: int = 0) -> list[Cut]:
    """The chunks of one episode of L frames, whose first frame is number `first` of its dataset."""
    actions = columns[ACTION].astype(np.float32).reshape(len(columns[ACTION]), -1)  # [L, A]
    ended, for_good = _end(columns, len(actions))
    rewards = columns[REWARD].reshape(-1) if REWARD in columns else np.eye(1, len(actions), ended)[0] * for_good
    cuts = []
    for start in range(0, ended + 1, horizon):
        stop = min(start + horizon, ended + 1)
        chunk = actions[np.minimum(np.arange(start, start + horizon), stop - 1)]
        last = stop == ended + 1
        terminated = last and for_good
        after = start if terminated else min(stop, len(actions) - 1)
        reward = float(rewards[start:stop].sum())
        cuts.append(Cut(first + start, first + after, chunk, reward, terminated, last and not for_good, stop - start))
    return cuts


def _end(columns: Columns, length: int) -> tuple[int, bool]:
    """The frame with which an episode ends, and whether it ends for good."""
    name = next((name for name in (SUCCESS, DONE) if name in columns), None)
    if name is None:
        return length - 1, True
    ends = np.flatnonzero(columns[name].reshape(-1))
    if not len(ends):
        return length - 1, False
    by_the_clock = TRUNCATED in columns and bool(columns[TRUNCATED].reshape(-1)[ends[0]])
    return int(ends[0]), not by_the_clock


class Recorded:
    """The decisions of a dataset, for replay."""

    def __init__(self, dataset: str, env: NoiseActionEnv) -> None:
        """Reads all but images of the LeRobotDataset `dataset`, a folder or a hub id.

        Raises ValueError or FileNotFoundError, with one sentence, where it does not fit the task of `env`.
        """
        self.env, self._name = env, dataset
        self._data = _opened(dataset)
        _check_fit(dataset, self._data.meta.features, env)
        known = [name for name in (ACTION, REWARD, SUCCESS, DONE, TRUNCATED) if name in self._data.meta.features]
        table = self._data.hf_dataset.with_format("numpy").select_columns(known)[:]
        columns = {name: np.asarray(values) for name, values in table.items()}
        _check_finite(dataset, columns)
        episodes = self._data.meta.episodes
        bounds = zip(episodes["dataset_from_index"], episodes["dataset_to_index"], strict=True)
        parts = [({name: values[a:b] for name, values in columns.items()}, int(a)) for a, b in bounds]
        self.cuts = [cut for part, first in parts for cut in cut_episode(part, env.horizon, first)]
        self.num_episodes = len(parts)

    def __len__(self) -> int:
        """How many decisions there are."""
        return len(self.cuts)

    @property
    def successes(self) -> int:
        """How many episodes end for good, with a reward."""
        return sum(cut.terminated and cut.reward > 0 for cut in self.cuts)

    def write(self, replay: str, add: Callable[[Any], None]) -> None:
        """Hand all decisions to `add` as tianshou's rollouts, with what `replay` keeps of looks."""
        for start in range(0, len(self), AT_ONCE):
            add(self._rollout(self.cuts[start : start + AT_ONCE], replay))

    @torch.no_grad()
    def _rollout(self, cuts: Sequence[Cut], replay: str) -> Any:
        from tianshou.data import Batch

        frames = sorted({frame for cut in cuts for frame in (cut.before, cut.after)})
        seen = self._observed(frames)
        encoding = self.env.policy.encode(seen)
        lost = ~torch.isfinite(encoding.features).all(1)
        if lost.any():
            raise FloatingPointError(
                f"features of frame {frames[int(lost.int().argmax())]} of offline_data={self._name} are not finite; "
                "look at its states and the policy's normalisation statistics"
            )
        row = {frame: i for i, frame in enumerate(frames)}
        before, after = (torch.tensor([row[getattr(cut, name)] for cut in cuts]) for name in ("before", "after"))
        chunks = torch.from_numpy(np.stack([cut.chunk for cut in cuts]))
        decision = Decision(encoding[before], chunks, encoding[after], seen[before], seen[after])
        terminated, truncated = (np.array([getattr(cut, name) for cut in cuts]) for name in ("terminated", "truncated"))
        num, unknown = len(cuts), (len(cuts), self.env.noise.dim)
        info = Batch(
            success=terminated.copy(), env_steps=np.array([cut.env_steps for cut in cuts]), seed=np.full(num, -1)
        )
        write_decision(info, decision, replay)
        return Batch(
            obs=decision.before.features.float().cpu().numpy(),
            obs_next=decision.after.features.float().cpu().numpy(),
            act=np.full(unknown, np.nan, np.float32),  # the noise is not known, and nobody asks for it
            rew=np.array([cut.reward for cut in cuts]),
            terminated=terminated,
            truncated=truncated,
            done=terminated | truncated,
            info=info,
            policy=Batch(),
        )

    def _observed(self, frames: Sequence[int]) -> Observation:
        items = [self._data[frame] for frame in frames]
        images = {
            camera: torch.stack([(item[IMAGES + camera] * 255).round().to(torch.uint8) for item in items])
            for camera in self.env.task.cameras
        }
        state = torch.stack([item[STATE].reshape(-1) for item in items])  # lerobot tells one number as a scalar
        return Observation(state, images, tuple(item["task"] for item in items))


def _opened(dataset: str) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(**dataset_named(dataset, "offline_data="))


def _check_fit(dataset: str, features: Mapping[str, Any], env: NoiseActionEnv) -> None:
    """Raises ValueError where the dataset's cameras, state or actions are not those of the task."""
    task = env.task
    cameras = {name.removeprefix(IMAGES): spec for name, spec in features.items() if name.startswith(IMAGES)}
    missing = sorted(set(task.cameras) - set(cameras))
    if missing:
        raise ValueError(
            f"offline_data={dataset} has no camera {missing[0]}, which the task has; it has {sorted(cameras) or 'none'}"
        )
    for name, dim in ((STATE, task.state_dim), (ACTION, task.action_dim)):
        found = tuple(features[name]["shape"]) if name in features else None
        if found != (dim,):
            raise ValueError(
                f"offline_data={dataset} has {name} of shape {found} but the task's has {(dim,)}; "
                "record it with the same task and task.control"
            )


def _check_finite(dataset: str, columns: Columns) -> None:
    for name, values in columns.items():
        bad = ~np.isfinite(values.reshape(len(values), -1).astype(float)).all(1)
        if bad.any():
            raise ValueError(f"offline_data={dataset} has {name} that is not finite in frame {int(bad.argmax())}")
