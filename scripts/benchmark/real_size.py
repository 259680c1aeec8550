"""Writes a SmolVLA checkpoint of the real dimensions with random weights, 1.8 GB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

SMOLVLM2_500M: dict[str, int] = {  # of SmolVLM2-500M-Video-Instruct, the backbone of the real SmolVLA
    "hidden_size": 960,
    "head_dim": 64,
    "num_layers": 32,
    "mlp_size": 2560,
    "key_value_heads": 5,
    "vocab_size": 49280,
    "image_size": 512,
    "patch_size": 16,
    "scale_factor": 4,
    "vision_hidden_size": 768,
    "vision_layers": 12,
    "vision_mlp_size": 3072,
}
VOCABULARY = ["pick", "up", "the", "red", "green", "blue", "cube"]


def write_checkpoint(
    folder: Path,
    cameras: Sequence[str] = ("camera1", "camera2"),
    state_dim: int = 6,
    action_dim: int = 6,
    num_steps: int = 10,
) -> Path:
    """Write weights, configuration, processors and backbone of a robot to `folder` and return it."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
    from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
    from lerobot.processor import TokenizerProcessorStep

    from dsrl.policy._lerobot import quiet
    from dsrl.policy._tiny_vlm import write_tiny_vlm

    write_tiny_vlm(folder / "vlm", vocabulary=VOCABULARY, **SMOLVLM2_500M)
    image = PolicyFeature(type=FeatureType.VISUAL, shape=(3, 512, 512))
    state = {"observation.state": PolicyFeature(type=FeatureType.STATE, shape=(state_dim,))}
    config = SmolVLAConfig(
        input_features={**state, **{f"observation.images.{camera}": image for camera in cameras}},
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(action_dim,))},
        chunk_size=50, n_action_steps=50, max_state_dim=32, max_action_dim=32, resize_imgs_with_padding=(512, 512),
        tokenizer_max_length=48, num_steps=num_steps, num_vlm_layers=16, expert_width_multiplier=0.75, device="cpu",
        vlm_model_name=str(folder / "vlm"),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        policy = SmolVLAPolicy(config)
    dims = {"observation.state": state_dim, "action": action_dim}
    statistics = {key: {"mean": torch.zeros(dim), "std": torch.ones(dim)} for key, dim in dims.items()}
    pipelines = make_smolvla_pre_post_processors(config, dataset_stats=statistics)
    for step in pipelines[0].steps:
        if isinstance(step, TokenizerProcessorStep):
            step.tokenizer_name = "vlm"
    config.vlm_model_name = "vlm"
    for part in (policy, *pipelines):
        part.save_pretrained(folder)
    return folder
