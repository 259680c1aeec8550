"""Clones states and actions into an MLP policy by flow matching or diffusion, in minutes on one core.

Images are never decoded. The checkpoint has the running average of the weights at the lowest held-out loss, and is a
`policy.path`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.policy import diffusion_mlp, flow_mlp
from dsrl.policy._mlp_checkpoint import MLPConfig, save_checkpoint
from dsrl.training.lerobot_columns import ACTION, STATE, state_columns
from scripts._lerobot_dataset import numbers, open_dataset
from scripts.pretrain.cloning import choose_frames, held_out_loss, hold_out, learn

SQUARED_ERRORS = {"flow_mlp": flow_mlp.squared_errors, "diffusion_mlp": diffusion_mlp.squared_errors}
CONSTANT = 1e-6  # a dimension that varies less is constant: dividing by its spread would amplify rounding errors


@dataclass(frozen=True)
class Recordings:
    """All frames of a dataset, episode after episode."""

    states: Tensor  # [N, S] float32
    actions: Tensor  # [N, A] float32
    starts: NDArray[np.int64]  # [E] first frame of each episode
    lengths: NDArray[np.int64]  # [E]


class Clips:
    """Normalised frames, each with the chunk of actions that follows it within its episode."""

    def __init__(self, recordings: Recordings, frames: NDArray[np.int64], config: MLPConfig) -> None:
        """frames: int [n]. A chunk beyond the episode's end repeats the last action, which counts as padding."""
        mean, std, low, high = (
            torch.tensor(values)
            for values in (config.state_mean, config.state_std, config.action_low, config.action_high)
        )
        last = recordings.starts + recordings.lengths - 1
        last_of_frame = torch.from_numpy(np.repeat(last, recordings.lengths))[frames]
        followers = torch.from_numpy(frames)[:, None] + torch.arange(config.chunk)
        self.features = (recordings.states[frames] - mean) / std
        self.chunks = (recordings.actions[followers.minimum(last_of_frame[:, None])] - low) / (high - low) * 2 - 1
        self.is_real = followers <= last_of_frame[:, None]  # [n, T]

    def __len__(self) -> int:
        return len(self.features)

    def loss(self, kind: str, config: MLPConfig, network: Any, rows: Tensor) -> Tensor:
        """Return mean squared error over the actions besides padding, under newly drawn noise and levels."""
        chunk = self.chunks[rows].flatten(1)
        noise, level = torch.randn_like(chunk), torch.rand(len(rows))
        errors = SQUARED_ERRORS[kind](network, config, self.features[rows], chunk, noise, level)
        real = self.is_real[rows]
        mean: Tensor = (errors.view(*real.shape, -1).mean(2) * real).sum() / real.sum()
        return mean


def read_recordings(dataset: str) -> Recordings:
    """Read the columns of a LeRobotDataset at once: frame by frame takes minutes for 100,000.

    Raises:
        ValueError: if the frames have no state or no action, or numbers that are not finite.
    """
    opened = open_dataset(dataset)
    missing = [key for key in (STATE, ACTION) if key not in opened.hf_dataset.column_names]
    if missing:
        raise ValueError(f"--dataset {dataset} has no {missing[0]} in its frames; record it with states and actions")
    named = state_columns(opened.hf_dataset.column_names)
    columns = opened.hf_dataset.select_columns([*named, ACTION]).with_format("numpy")[:]
    states = torch.from_numpy(np.concatenate([numbers(columns[key]) for key in named], axis=1))
    actions = torch.from_numpy(numbers(columns[ACTION]))
    for key, values in ((STATE, states), (ACTION, actions)):
        if not values.isfinite().all():
            raise ValueError(f"--dataset {dataset} has {key} that is not finite; remove those episodes")
    episodes = opened.meta.episodes
    return Recordings(states, actions, np.array(episodes["dataset_from_index"]), np.array(episodes["length"]))


def describe(kind: str, recordings: Recordings, options: argparse.Namespace) -> MLPConfig:
    """Return the configuration of a policy for these data; a constant dimension gets a spread of 1."""
    mean, std = recordings.states.mean(0), recordings.states.std(0)
    low, high = recordings.actions.amin(0), recordings.actions.amax(0)
    fixed = high - low < CONSTANT
    return MLPConfig(
        policy=kind,
        chunk=options.chunk,
        hidden=options.hidden,
        depth=options.depth,
        num_steps=options.num_steps,
        train_steps=options.train_steps if kind == "diffusion_mlp" else None,
        state_mean=tuple(mean.tolist()),
        state_std=tuple(torch.where(std < CONSTANT, 1.0, std).tolist()),
        action_low=tuple(torch.where(fixed, low - 1, low).tolist()),
        action_high=tuple(torch.where(fixed, high + 1, high).tolist()),
    )


def pretrain(kind: str, options: argparse.Namespace, out: Path) -> None:
    """Train a policy of `kind` and write its checkpoint into `out`.

    Raises ValueError for a dataset that leaves no episode to learn from, FileNotFoundError for one that is missing.
    """
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings
    torch.manual_seed(options.seed)
    recordings = read_recordings(options.dataset)
    config = describe(kind, recordings, options)
    generator = np.random.default_rng(options.seed)
    frames = choose_frames(recordings.lengths, recordings.starts, config.chunk, options.extra_frames, generator)
    parts = hold_out(frames, options.held_out, generator)
    outside, clips = (Clips(recordings, np.concatenate(part), config) for part in parts)
    network = config.build()
    print(f"{len(clips)} frames of {len(parts[1])} episodes, {len(outside)} of {len(parts[0])} held out; "
          f"{sum(weight.numel() for weight in network.parameters())} weights", flush=True)  # fmt: skip
    average = learn(
        network,
        lambda model, rows: clips.loss(kind, config, model, rows),
        len(clips),
        lambda model: held_out_loss(model, lambda one, rows: outside.loss(kind, config, one, rows), len(outside), 1024),
        options,
    )
    save_checkpoint(out, config, average)
