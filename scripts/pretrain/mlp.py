"""Clone a LeRobotDataset's states and actions into an MLP policy: flow matching or diffusion, minutes on one core.

    python -m scripts.pretrain --policy flow_mlp --dataset data/simple_pick_state --out data/policy --chunk 8
    python -m scripts.pretrain --policy diffusion_mlp --dataset data/hopper --out data/hopper_medium --chunk 4

`--dataset` is a folder or hub id whose frames have observation.state and action; pictures are never decoded. What is
written (a running average of the weights, where the held-out loss was lowest) is what `policy.path` takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.policy import diffusion_mlp, flow_mlp
from dsrl.policy._mlp_checkpoint import MLPConfig, save_checkpoint
from dsrl.training.lerobot_columns import dataset_named
from scripts.pretrain.cloning import choose_frames, held_out_loss, learn

SQUARED_ERRORS = {"flow_mlp": flow_mlp.squared_errors, "diffusion_mlp": diffusion_mlp.squared_errors}
CONSTANT = 1e-6  # what varies less is constant: dividing by its spread would make a measurement of rounding


@dataclass(frozen=True)
class Recordings:
    """All frames of a dataset, episode after episode."""

    states: Tensor  # [N, S] float32
    actions: Tensor  # [N, A] float32
    starts: NDArray[np.int64]  # [E] first frame of each episode
    lengths: NDArray[np.int64]  # [E]


class Clips:
    """Some frames, normalised, each with the chunk of actions that follows it within its episode."""

    def __init__(self, recordings: Recordings, frames: NDArray[np.int64], config: MLPConfig) -> None:
        """frames: int [n]. A chunk that the episode's end cuts repeats its last action, which counts as padding."""
        mean, std, low, high = (
            torch.tensor(numbers)
            for numbers in (config.state_mean, config.state_std, config.action_low, config.action_high)
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
        """Mean squared error over the actions that are no padding, under fresh noise and levels."""
        chunk = self.chunks[rows].flatten(1)
        noise, level = torch.randn_like(chunk), torch.rand(len(rows))
        errors = SQUARED_ERRORS[kind](network, config, self.features[rows], chunk, noise, level)
        real = self.is_real[rows]
        mean: Tensor = (errors.view(*real.shape, -1).mean(2) * real).sum() / real.sum()
        return mean


def read_recordings(dataset: str) -> Recordings:
    """The columns of a LeRobotDataset at once: frame by frame takes minutes for 100,000.

    Raises:
        ValueError: if a frame has no state or no action.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    opened = LeRobotDataset(**dataset_named(dataset, "--dataset "))
    wanted = ["observation.state", "action"]
    missing = [key for key in wanted if key not in opened.hf_dataset.column_names]
    if missing:
        raise ValueError(f"--dataset {dataset} has no {missing[0]} in its frames; record it with states and actions")
    columns = opened.hf_dataset.select_columns(wanted).with_format("numpy")[:]
    states, actions = (torch.from_numpy(np.stack(columns[key]).astype(np.float32)) for key in wanted)
    episodes = opened.meta.episodes
    return Recordings(states, actions, np.array(episodes["dataset_from_index"]), np.array(episodes["length"]))


def describe(kind: str, recordings: Recordings, options: argparse.Namespace) -> MLPConfig:
    """The configuration of a policy for these data; what is constant in them counts as having a spread of 1."""
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


def main(kind: str, arguments: Sequence[str] | None = None) -> None:
    options = _options(kind, arguments)
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings
    torch.manual_seed(options.seed)
    recordings = read_recordings(options.dataset)
    config = describe(kind, recordings, options)
    generator = np.random.default_rng(options.seed)
    frames = choose_frames(recordings.lengths, recordings.starts, config.chunk, options.extra_frames, generator)
    order = generator.permutation(len(frames))
    num_held_out = max(1, round(options.held_out * len(frames)))
    if num_held_out >= len(frames):
        raise SystemExit(f"error: --held-out {options.held_out} leaves no episode of {len(frames)} to learn from")
    outside, clips = (
        Clips(recordings, np.concatenate([frames[i] for i in part]), config)
        for part in (order[:num_held_out], order[num_held_out:])
    )
    network = config.build()
    print(f"{len(clips)} clips of {len(frames) - num_held_out} episodes, {len(outside)} of {num_held_out} held out; "
          f"{sum(weight.numel() for weight in network.parameters())} weights", flush=True)  # fmt: skip
    average = learn(
        network,
        lambda model, rows: clips.loss(kind, config, model, rows),
        len(clips),
        lambda model: held_out_loss(model, lambda one, rows: outside.loss(kind, config, one, rows), len(outside), 1024),
        options,
    )
    save_checkpoint(options.out, config, average)


def _options(kind: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"pretrain --policy {kind}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder or hub id of a LeRobotDataset")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--chunk", type=int, default=8, help="actions per chunk")
    parser.add_argument("--hidden", type=int, default=256, help="width of the network")
    parser.add_argument("--depth", type=int, default=3, help="residual layers")
    parser.add_argument(
        "--num-steps", type=int, default=5, help="steps of a denoising, unless policy.num_steps is given"
    )
    if kind == "diffusion_mlp":
        parser.add_argument("--train-steps", type=int, default=20, help="levels of noise in training")
    parser.add_argument("--steps", type=int, default=5000, help="of training")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--extra-frames", type=int, help="frames per episode beside those of decisions; all by itself")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of episodes kept for the held-out loss")
    parser.add_argument("--evaluate-every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit("error: type python -m scripts.pretrain --policy flow_mlp (or diffusion_mlp) instead")
