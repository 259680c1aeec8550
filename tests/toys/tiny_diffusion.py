"""Writes lerobot diffusion checkpoints of small U-Nets with random weights in about a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.diffusion.processor_diffusion import make_diffusion_pre_post_processors

from dsrl.policy._lerobot import quiet

SIDE = 64  # of an image, in pixels; a ResNet halves it five times


def make_tiny_diffusion(
    folder: Path,
    *,
    cameras: Sequence[str] = ("front",),
    state_dim: int = 2,
    surroundings_dim: int = 0,
    action_dim: int = 2,
    n_obs_steps: int = 2,
    bounds: tuple[float, float] | None = None,
    **config_overrides: Any,
) -> Path:
    """Write a whole checkpoint (weights, config, processors) and return its folder.

    `bounds` are those of all numbers of states and actions; None draws them. `config_overrides` are fields of
    DiffusionConfig.
    """
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (state_dim,))}
    if surroundings_dim:
        inputs["observation.environment_state"] = PolicyFeature(FeatureType.ENV, (surroundings_dim,))
    inputs |= {f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)) for name in cameras}
    fields: dict[str, Any] = {
        "input_features": inputs,
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (action_dim,))},
        "n_obs_steps": n_obs_steps,
        "horizon": 8,
        "n_action_steps": 4,
        "down_dims": (16, 32),
        "n_groups": 4,
        "diffusion_step_embed_dim": 16,
        "spatial_softmax_num_keypoints": 4,
        "pretrained_backbone_weights": None,
        "noise_scheduler_type": "DDIM",
        "num_inference_steps": 5,
        "device": "cpu",
        **config_overrides,
    }
    config = DiffusionConfig(**fields)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        policy = DiffusionPolicy(config)
    policy.save_pretrained(folder)
    features = {**inputs, **config.output_features}
    stats = random_stats(features)
    if bounds is not None:
        numbers = {key: feature for key, feature in features.items() if feature.type is not FeatureType.VISUAL}
        stats |= {key: _stats_of(bounds, feature.shape) for key, feature in numbers.items()}
    for pipeline in make_diffusion_pre_post_processors(config, dataset_stats=stats):
        pipeline.save_pretrained(folder)
    return folder


def random_stats(features: dict[str, PolicyFeature]) -> dict[str, dict[str, torch.Tensor]]:
    """Means about zero and spreads between 0.5 and 1.5; the bounds lie two spreads about the mean."""
    generator = torch.Generator().manual_seed(1)
    stats = {}
    for key, feature in features.items():
        shape = (3, 1, 1) if feature.type is FeatureType.VISUAL else feature.shape
        mean, std = torch.randn(shape, generator=generator) / 2, torch.rand(shape, generator=generator) + 0.5
        bounds = {"min": mean - 2 * std, "max": mean + 2 * std, "q01": mean - 2 * std, "q99": mean + 2 * std}
        stats[key] = {"mean": mean, "std": std, **bounds}
    return stats


def _stats_of(bounds: tuple[float, float], shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    low, high = bounds
    numbers = {"min": low, "max": high, "q01": low, "q99": high, "mean": (low + high) / 2, "std": (high - low) / 4}
    return {name: torch.full(shape, number) for name, number in numbers.items()}
