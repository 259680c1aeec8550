"""Writes lerobot SmolVLA checkpoints of a few hundred thousand random weights in under a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from lerobot.processor import TokenizerProcessorStep

from dsrl.policy._lerobot import quiet
from dsrl.policy._tiny_vlm import write_tiny_vlm

WORDS = ["pick", "up", "the", "red", "green", "blue", "cube", "and", "put", "it", "in", "box", "now"]
IMAGE_SIZE = 32


def make_tiny_checkpoint(
    folder: Path,
    *,
    cameras: Sequence[str] = ("front",),
    state_dim: int = 5,
    action_dim: int = 4,
    chunk: int = 6,
    vlm_layers: int = 4,
    head_dim: int = 16,
    stats: dict[str, dict[str, torch.Tensor]] | None = None,
    **config_overrides: Any,
) -> Path:
    """Write a whole checkpoint (weights, config, processors, backbone under `vlm/`) and return its folder.

    `config_overrides` are fields of SmolVLAConfig; `stats` replaces the random normalisation statistics.
    """
    write_tiny_vlm(
        folder / "vlm",
        vocabulary=WORDS,
        hidden_size=2 * head_dim,
        head_dim=head_dim,
        num_layers=vlm_layers,
        image_size=IMAGE_SIZE,
        patch_size=8,
        vision_hidden_size=2 * head_dim,
        vision_layers=1,
        scale_factor=2,
    )
    config = tiny_config(cameras, state_dim, action_dim, chunk, **config_overrides)
    save_random_policy(folder, config, random_stats(state_dim, action_dim) if stats is None else stats)
    return folder


def tiny_config(
    cameras: Sequence[str], state_dim: int, action_dim: int, chunk: int, **config_overrides: Any
) -> SmolVLAConfig:
    """The configuration of a tiny policy, padded in state and action as the real one is."""
    image = PolicyFeature(type=FeatureType.VISUAL, shape=(3, IMAGE_SIZE, IMAGE_SIZE))
    fields: dict[str, Any] = {
        "input_features": {
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(state_dim,)),
            **{f"observation.images.{camera}": image for camera in cameras},
        },
        "output_features": {"action": PolicyFeature(type=FeatureType.ACTION, shape=(action_dim,))},
        "chunk_size": chunk,
        "n_action_steps": chunk,
        "max_state_dim": state_dim + 3,
        "max_action_dim": action_dim + 2,
        "resize_imgs_with_padding": (IMAGE_SIZE, IMAGE_SIZE),
        "tokenizer_max_length": 12,
        "num_steps": 3,
        "num_vlm_layers": 0,
        "expert_width_multiplier": 1.0,
        "device": "cpu",
        **config_overrides,
    }
    return SmolVLAConfig(**fields)


def save_random_policy(folder: Path, config: SmolVLAConfig, stats: dict[str, dict[str, torch.Tensor]]) -> None:
    """Random weights from a fixed seed, beside their processors; the backbone is named relative to the folder."""
    config.vlm_model_name = str(folder / "vlm")
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        policy = SmolVLAPolicy(config)
    pipelines = make_smolvla_pre_post_processors(config, dataset_stats=stats)
    for step in pipelines[0].steps:
        if isinstance(step, TokenizerProcessorStep):
            step.tokenizer_name = "vlm"
    config.vlm_model_name = "vlm"
    policy.save_pretrained(folder)
    for pipeline in pipelines:
        pipeline.save_pretrained(folder)


def random_stats(state_dim: int, action_dim: int) -> dict[str, dict[str, torch.Tensor]]:
    """Means about zero and spreads between 0.5 and 1.5."""
    generator = torch.Generator().manual_seed(1)
    return {
        key: {"mean": torch.randn(dim, generator=generator), "std": torch.rand(dim, generator=generator) + 0.5}
        for key, dim in (("observation.state", state_dim), ("action", action_dim))
    }
