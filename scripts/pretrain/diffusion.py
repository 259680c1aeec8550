"""Trains lerobot's own Diffusion Policy on the states, or states and images, of a LeRobotDataset.

    frames t-n+1 … t --observations [B, n, …]--+
    frames t-n+1 … t-n+H --actions [B, H, A]---+--> lerobot's processors --> DiffusionPolicy.forward: the loss

The checkpoint has the running average of the weights at the lowest held-out loss, samples by DDIM, and is a
`policy.path` of policy=lerobot.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsrl.policy._statistics import check_processors
from dsrl.training.lerobot_columns import ACTION, STATE, SURROUNDINGS
from scripts._lerobot_dataset import numbers, open_dataset
from scripts.pretrain.cloning import choose_frames, held_out_loss, hold_out, learn


class Recordings:
    """All frames of a dataset in memory, episode after episode."""

    def __init__(self, dataset: str, robot_state: int | None) -> None:
        """`robot_state` splits the state: the numbers after it are those of the surroundings.

        Raises:
            ValueError: for a dataset without states and actions, or without images and surroundings.
        """
        opened = open_dataset(dataset)
        self.meta, self.cameras = opened.meta, list(opened.meta.camera_keys)
        names = [key for key in (STATE, SURROUNDINGS, ACTION) if key in opened.hf_dataset.column_names]
        if STATE not in names or ACTION not in names:
            raise ValueError(f"--dataset {dataset} has no {STATE} or no {ACTION}; record it with both")
        columns = opened.hf_dataset.select_columns(names).with_format("numpy")[:]
        self.tensors = {key: torch.from_numpy(numbers(columns[key])) for key in names}
        for key, values in self.tensors.items():
            if not values.isfinite().all():
                raise ValueError(f"--dataset {dataset} has {key} that is not finite; remove those episodes")
        self.stats = {key: dict(value) for key, value in (opened.meta.stats or {}).items()}
        if robot_state is not None:
            self._split(dataset, robot_state)
        if not self.cameras and SURROUNDINGS not in self.tensors:
            raise ValueError(
                f"--dataset {dataset} has no images, so that lerobot needs {SURROUNDINGS}; type --robot-state N, and "
                "the numbers of the state after the first N are taken for it"
            )
        if self.cameras:
            check_sizes(dataset, {key: tuple(opened.meta.features[key]["shape"]) for key in self.cameras})
            items = [opened[i] for i in range(len(opened))]
            for key in self.cameras:
                self.tensors[key] = torch.stack([(item[key] * 255).round().to(torch.uint8) for item in items])
        episodes = opened.meta.episodes
        self.starts, self.lengths = np.array(episodes["dataset_from_index"]), np.array(episodes["length"])

    def _split(self, dataset: str, robot_state: int) -> None:
        """Split the state into the robot's numbers and those of its surroundings, statistics included."""
        total = self.tensors[STATE].shape[1]
        if SURROUNDINGS in self.tensors or robot_state >= total:
            raise ValueError(
                f"--robot-state {robot_state} leaves nothing of the {total} numbers of {dataset}, or it has "
                f"{SURROUNDINGS}; leave it out, or type a smaller number"
            )
        whole = self.tensors[STATE]
        self.tensors |= {STATE: whole[:, :robot_state], SURROUNDINGS: whole[:, robot_state:]}
        stats = {name: np.asarray(value) for name, value in self.stats.get(STATE, {}).items()}
        for key, part in ((STATE, slice(None, robot_state)), (SURROUNDINGS, slice(robot_state, None))):
            self.stats[key] = {name: value[part] if value.shape == (total,) else value for name, value in stats.items()}

    def features(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return lerobot's features of the policy's inputs and outputs."""
        from lerobot.configs import FeatureType, PolicyFeature

        kinds = {STATE: FeatureType.STATE, SURROUNDINGS: FeatureType.ENV, ACTION: FeatureType.ACTION}
        found = {
            key: PolicyFeature(kinds.get(key, FeatureType.VISUAL), tuple(tensor.shape[1:]))
            for key, tensor in self.tensors.items()
        }
        action = {ACTION: found.pop(ACTION)}
        return found, action


def check_sizes(dataset: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the images of all cameras can be one tensor. Raises ValueError."""
    if len({*shapes.values()}) > 1:
        listed = ", ".join(f"{key} {list(shape)}" for key, shape in shapes.items())
        raise ValueError(
            f"--dataset {dataset} has cameras of several sizes ({listed}) but lerobot's Diffusion Policy takes one; "
            "record it in one size, or remove a camera with lerobot-edit-dataset --operation.type=remove_feature"
        )


class Clips:
    """Frames, each with the observations up to it and the actions about it; lerobot pads with those of the ends."""

    def __init__(self, recordings: Recordings, frames: NDArray[np.int64], config: Any) -> None:
        self.tensors, self.frames = recordings.tensors, torch.from_numpy(frames)
        episode = np.searchsorted(recordings.starts, frames, side="right") - 1
        self.first = torch.from_numpy(recordings.starts[episode])
        self.last = self.first + torch.from_numpy(recordings.lengths[episode]) - 1
        self.past = torch.tensor(config.observation_delta_indices)
        self.future = torch.tensor(config.action_delta_indices)

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the clips in `rows` [B] as lerobot's collated batch."""
        first, last = self.first[rows, None], self.last[rows, None]
        observed = (self.frames[rows, None] + self.past).maximum(first)
        acted = self.frames[rows, None] + self.future
        batch = {key: tensor[observed] for key, tensor in self.tensors.items() if key != ACTION}
        batch = {key: value.float() / 255 if value.dtype == torch.uint8 else value for key, value in batch.items()}
        padded = (acted < first) | (acted > last)
        return {**batch, ACTION: self.tensors[ACTION][acted.maximum(first).minimum(last)], "action_is_pad": padded}


def pretrain(options: argparse.Namespace, out: Path) -> None:
    """Train a Diffusion Policy and write its checkpoint into `out`.

    Raises ValueError for a dataset that leaves no episode to learn from, FileNotFoundError for one that is missing.
    """
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
    from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors

    torch.set_num_threads(1 if options.device == "cpu" else torch.get_num_threads())
    torch.manual_seed(options.seed)
    recordings = Recordings(options.dataset, options.robot_state)
    config = make_config(recordings, options)
    generator = np.random.default_rng(options.seed)
    frames = choose_frames(recordings.lengths, recordings.starts, config.n_action_steps, None, generator)
    outside, clips = (
        Clips(recordings, np.concatenate(part), config) for part in hold_out(frames, options.held_out, generator)
    )
    policy = DiffusionPolicy(config).to(options.device)
    preprocess, postprocess = make_diffusion_pre_post_processors(config, dataset_stats=recordings.stats)
    check_processors(config, preprocess, postprocess, f"--dataset {options.dataset}")
    print(f"{len(clips)} frames to learn from, {len(outside)} held out; "
          f"{sum(weight.numel() for weight in policy.parameters())} weights", flush=True)  # fmt: skip
    average = learn(
        policy,
        lambda model, rows: model.forward(preprocess(clips.batch(rows)))[0],
        len(clips),
        lambda model: held_out_loss(
            model, lambda one, rows: one.forward(preprocess(outside.batch(rows)))[0], len(outside), 64
        ),
        options,
    )
    for part in (average, preprocess, postprocess):
        part.save_pretrained(out)


def make_config(recordings: Recordings, options: argparse.Namespace) -> Any:
    """Return lerobot's configuration: a U-Net of three widths, group norm, DDIM."""
    from lerobot.configs import NormalizationMode
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig

    inputs, outputs = recordings.features()
    bounds, spread = NormalizationMode.MIN_MAX, NormalizationMode.MEAN_STD
    return DiffusionConfig(
        input_features=inputs,
        output_features=outputs,
        n_obs_steps=options.observations,
        horizon=options.horizon,
        n_action_steps=options.chunk,
        down_dims=(options.width, 2 * options.width, 4 * options.width),
        pretrained_backbone_weights=None,
        use_group_norm=True,
        normalization_mapping={"VISUAL": spread, "STATE": bounds, "ACTION": bounds, "ENV": bounds},  # lerobot: no ENV
        noise_scheduler_type="DDIM",
        num_inference_steps=options.num_steps,
        device=options.device,
    )
