"""Offline data: the actions of a LeRobotDataset, cut into chunks, enter replay as transitions.

    frames  o_0 a_0  o_1 a_1  …   ->   (o_0, a_0 … a_{h-1}, r, o_h), (o_h, …), …        h = horizon

`dsrl.training.offline_episodes` cuts the episodes.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsrl import history
from dsrl.available_memory import available_memory
from dsrl.foreign_json import first_line
from dsrl.interfaces import Encoding, Observation, Replay
from dsrl.noise_action_env import Decision, NoiseActionEnv
from dsrl.rules import policy_rules
from dsrl.training.dataset_process import check_apart
from dsrl.training.lerobot_columns import (
    ACTION,
    DECODER,
    DONE,
    IMAGES,
    NO_HUB_ID,
    REWARD,
    STATE,
    SUCCESS,
    TRUNCATED,
    dataset_named,
    downloaded,
    image_column,
    state_columns,
)
from dsrl.training.noise_inversion import Fidelity, joined, noise_of
from dsrl.training.offline_episodes import ChunkTransition, Columns, cut_episode
from dsrl.training.replay_buffer import Replay as ReplayBuffer
from dsrl.training.replay_format import write_decision

KEY = "offline_data="
RECORDED = (ACTION, REWARD, SUCCESS, DONE, TRUNCATED)
FINDING = ("timestamp", "episode_index", "index", "task_index")  # with which lerobot finds a frame's video and text
AT_ONCE = 64  # transitions whose states are encoded together, fewer where their pictures take more than
PICTURE_BYTES = 1 << 30
LEAST_SPREAD = 1e-3  # of recorded actions, in the task's units, for those that never change


class OfflineData:
    """The transitions of a dataset, for replay. `sha256` is the digest of its numbers, wherever it lies."""

    def __init__(self, dataset: str, env: NoiseActionEnv) -> None:
        """Check the LeRobotDataset `dataset`, a folder or a hub id, and read all but its pictures.

        Raises ValueError or FileNotFoundError, with one sentence, where it is damaged, reaches beyond its folder or
        does not fit the task of `env`.
        """
        self.env, self._name = env, dataset
        self._data = _opened(dataset, bool(env.task.cameras))
        _check_fit(dataset, self._data.meta.features, env)
        if not all(isinstance(instruction, str) for instruction in self._data.meta.tasks.index):
            raise ValueError(f"{KEY}{dataset} has no texts as index of meta/tasks.parquet; get the dataset anew")
        _keep(self._data, _read_columns(self._data.meta.features, env))
        present = [name for name in RECORDED if name in self._data.meta.features]
        columns, states = self._columns(present), self._columns(state_columns(self._data.meta.features))
        _check_finite(dataset, {**columns, **states})
        self.sha256 = _digest({**columns, **states})
        episodes = self._data.meta.episodes
        bounds = zip(episodes["dataset_from_index"], episodes["dataset_to_index"], strict=True)
        parts = [({name: values[a:b] for name, values in columns.items()}, int(a)) for a, b in bounds]
        self.transitions = [
            one for part, first in parts for one in cut_episode(part, env.horizon, first, env.has_success)
        ]
        self._noise: Tensor | None = None  # u [N, dim], once it was found
        self.num_episodes = len(parts)
        self._check_pictures()

    def _columns(self, names: Sequence[str]) -> Columns:
        with _foreign(self._name):
            table = self._data.hf_dataset.with_format("numpy").select_columns(list(names))[:]
        return {name: np.asarray(values) for name, values in table.items()}

    def moved_to(self, env: NoiseActionEnv) -> OfflineData:
        """Return the same transitions for an environment of the same task and policy with another noise.

        Noise that was found is left behind: it has the numbers of the other environment's noise.
        """
        moved = copy.copy(self)
        moved.env, moved._noise = env, None
        return moved

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.transitions)

    @property
    def sentences(self) -> list[str]:
        """The instructions that it names."""
        return list(self._data.meta.tasks.index)

    @property
    def successes(self) -> int:
        """The number of episodes that succeed."""
        return sum(one.success for one in self.transitions)

    def write(self, replay: Replay, buffer: ReplayBuffer, draws: int = 0) -> None:
        """Add all transitions to `buffer`, with what `replay` stores of states, and chunks of `draws` base noises."""
        for at_once in self._slices():
            noise = None if self._noise is None else self._noise[at_once]
            buffer.add_offline(self._rollout(self.transitions[at_once], noise, replay, draws))

    @torch.no_grad()
    def invert(self) -> Fidelity:
        """Find noise for all chunks, which `write` adds to their transitions; returns how near it comes to them."""
        actions = torch.from_numpy(np.stack([one.chunk for one in self.transitions]))
        spread = actions.flatten(0, 1).std(0).clamp(min=LEAST_SPREAD)
        noise, fidelities = [], []
        for at_once in self._slices():
            _, encoding = self._encoded([one.before for one in self.transitions[at_once]])
            found, fidelity = noise_of(self.env, encoding, actions[at_once], spread)
            noise.append(found)
            fidelities.append((len(found), fidelity))
        self._noise = torch.cat(noise)
        return joined(fidelities)

    @torch.no_grad()
    def _rollout(self, part: Sequence[ChunkTransition], noise: Tensor | None, replay: Replay, draws: int) -> Any:
        from tianshou.data import Batch

        frames = sorted({frame for one in part for frame in (one.before, one.after)})
        observation, encoding = self._encoded(frames)
        row = {frame: i for i, frame in enumerate(frames)}
        before, after = (torch.tensor([row[getattr(one, name)] for one in part]) for name in ("before", "after"))
        chunks = torch.from_numpy(np.stack([one.chunk for one in part]))
        decision = Decision(encoding[before], chunks, encoding[after], observation[before], observation[after])
        terminated, truncated, success = (
            np.array([getattr(one, name) for one in part]) for name in ("terminated", "truncated", "success")
        )
        num, unknown = len(part), (len(part), self.env.noise.dim)
        info = Batch(success=success, env_steps=np.array([one.env_steps for one in part]), seed=np.full(num, -1))
        if replay != "noise":
            write_decision(info, decision, replay, self.env, draws)
        return Batch(
            obs=decision.before.features.float().cpu().numpy(),
            obs_next=decision.after.features.float().cpu().numpy(),
            act=np.full(unknown, np.nan, np.float32) if noise is None else noise.numpy(),  # no algorithm reads NaN
            rew=np.array([one.reward for one in part]),
            terminated=terminated,
            truncated=truncated,
            done=terminated | truncated,
            info=info,
            policy=Batch(),
        )

    def _encoded(self, frames: Sequence[int]) -> tuple[Observation, Encoding]:
        """Read and encode the observations of frames. Raises FloatingPointError for features that are not finite."""
        observation = self._observation(frames)
        encoding = policy_rules.encode(self.env.policy, observation)
        lost = ~torch.isfinite(encoding.features).all(1)
        if lost.any():
            raise FloatingPointError(
                f"features of frame {frames[int(lost.int().argmax())]} of offline_data={self._name} are not finite; "
                "check the policy's normalisation statistics"
            )
        return observation, encoding

    def _slices(self) -> list[slice]:
        """Return the transitions that are encoded together."""
        pixels = sum(math.prod(shape) for shape in self.env.task.cameras.values())
        num = max(1, min(AT_ONCE, PICTURE_BYTES // max(1, 2 * history.length(self.env.policy) * pixels)))
        return [slice(start, start + num) for start in range(0, len(self), num)]

    def _check_pictures(self) -> None:
        """Decode the pictures that transitions need, so that a damaged one ends the program before it plays."""
        if self.env.task.cameras:
            for frame in sorted({frame for one in self.transitions for frame in (one.before, one.after)}):
                self._frame(frame)

    def _frame(self, frame: int) -> dict[str, Any]:
        with _foreign(self._name):
            item: dict[str, Any] = self._data[frame]
        return item

    def _observation(self, frames: Sequence[int]) -> Observation:
        """Read the observations of frames, with the history that the policy encodes."""
        starts = np.sort(np.asarray(self._data.meta.episodes["dataset_from_index"]))
        first = starts[np.searchsorted(starts, frames, side="right") - 1]
        ages = reversed(range(history.length(self.env.policy)))
        return history.join([self._read(np.maximum(np.asarray(frames) - age, first).tolist()) for age in ages])

    def _read(self, frames: Sequence[int]) -> Observation:
        features, cameras = self._data.meta.features, self.env.task.cameras
        columns = {camera: column for camera in cameras if (column := image_column(features, camera)) is not None}
        pictures: dict[str, list[Tensor]] = {camera: [] for camera in columns}
        states, texts = [], []
        for frame in frames:
            item = self._frame(frame)  # pictures of 4 bytes a number, of which one frame's are in memory at once
            for camera, column in columns.items():
                pictures[camera].append((item[column] * 255).round().to(torch.uint8))
            states.append(torch.cat([item[name].reshape(-1) for name in state_columns(features)]))  # a number is scalar
            texts.append(item["task"])
        images = {camera: torch.stack(found) for camera, found in pictures.items()}
        return Observation(torch.stack(states), images, tuple(texts))


@contextmanager
def _foreign(dataset: str) -> Iterator[None]:
    """Turn errors of lerobot and the libraries below it into one sentence; nothing of ours runs in the block."""
    try:
        yield
    except Exception as error:  # of any of those libraries' own types, and of Python's
        raise ValueError(
            f"{KEY}{dataset} cannot be read ({type(error).__name__}: {first_line(error)}); get the dataset anew"
        ) from error


def _opened(dataset: str, pictures: bool) -> Any:
    folder = dataset_named(dataset, KEY).get("root") or downloaded(dataset, KEY)
    check_apart(folder, f"{KEY}{dataset}", available_memory(), pictures)
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()
    with _foreign(dataset):
        return LeRobotDataset(NO_HUB_ID, folder.resolve(), video_backend=DECODER)


def _read_columns(features: Mapping[str, Any], env: NoiseActionEnv) -> set[str]:
    """Return the columns that are read: those of the task, and with which lerobot finds them."""
    cameras = {column for camera in env.task.cameras if (column := image_column(features, camera)) is not None}
    return cameras | {*state_columns(features), *RECORDED, *FINDING}


def _keep(data: Any, columns: set[str]) -> None:
    """Make lerobot leave out all columns of a dataset but `columns`: it would unpack the pictures of each camera."""
    data.meta.info.features = {name: spec for name, spec in data.meta.features.items() if name in columns}
    kept = [name for name in data.hf_dataset.column_names if name in columns]
    data.reader.hf_dataset = data.hf_dataset.select_columns(kept)


def _check_fit(dataset: str, features: Mapping[str, Any], env: NoiseActionEnv) -> None:
    """Raise ValueError where the dataset's cameras, state or actions are not those of the task."""
    task = env.task
    for name in [*state_columns(features), *(name for name in RECORDED if name in features)]:
        dtype, shape = features[name]["dtype"], tuple(features[name]["shape"])
        if dtype in ("image", "video", "string") or (name in RECORDED[1:] and shape != (1,)):
            raise ValueError(
                f"offline_data={dataset} has {name} of dtype {dtype} and shape {shape} but it must be "
                f"{'one number a frame' if name in RECORDED[1:] else 'numbers'}; record it anew"
            )
    cameras = [name.removeprefix(IMAGES) for name, spec in features.items() if spec["dtype"] in ("image", "video")]
    missing = sorted(camera for camera in task.cameras if image_column(features, camera) is None)
    if missing:
        raise ValueError(
            f"offline_data={dataset} has no camera {missing[0]}, which the task has; it has {sorted(cameras) or 'none'}"
        )
    for camera, (channels, height, width) in task.cameras.items():
        column = image_column(features, camera)
        size = None if column is None else tuple(features[column]["shape"])
        if size not in ((height, width, channels), (channels, height, width)):
            raise ValueError(
                f"offline_data={dataset} has pictures of shape {size} from the camera {camera} but the task's have "
                f"{(height, width, channels)}; record it with pictures of that size, or give the task those of the data"
            )
    for name, columns, dim in (
        (STATE, state_columns(features), task.state_dim),
        (ACTION, [ACTION] if ACTION in features else [], task.action_dim),
    ):
        shapes = [tuple(features[column]["shape"]) for column in columns]
        flat = all(len(shape) == 1 for shape in shapes)
        found = (sum(shape[0] for shape in shapes),) if shapes and flat else next(iter(shapes), None)
        if found != (dim,):
            raise ValueError(
                f"offline_data={dataset} has {name} of shape {found} but the task's has {(dim,)}; "
                "record it with the same task and task.control"
            )


def _digest(columns: Columns) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(f"{name} {columns[name].dtype} {columns[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(columns[name]).tobytes())
    return digest.hexdigest()


def _check_finite(dataset: str, columns: Columns) -> None:
    for name, values in columns.items():
        bad = ~np.isfinite(values.reshape(len(values), -1).astype(float)).all(1)
        if bad.any():
            found = f"{KEY}{dataset} has {name} that is not finite in frame {int(bad.argmax())}"
            raise ValueError(f"{found}; remove the episode of that frame, or record it anew")
