"""Writes π0 and π0.5 checkpoints of small random weights; lerobot itself has them in the real sizes only.

lerobot's classes take their sizes from two tables in their module. `small_sizes` replaces the tables, and nothing else,
while such a checkpoint is written or loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.pi0 import modeling_pi0
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.pi0.processor_pi0 import make_pi0_pre_post_processors
from lerobot.policies.pi05 import modeling_pi05
from lerobot.policies.pi05.configuration_pi05 import PI05Config
from lerobot.policies.pi05.processor_pi05 import make_pi05_pre_post_processors
from transformers import CONFIG_MAPPING, SiglipVisionConfig
from transformers.models.gemma.configuration_gemma import GemmaConfig

from dsrl.policy._lerobot import quiet
from scripts.benchmark.pi0 import save_processors
from toys.tiny_diffusion import random_stats

WORDS = [
    "<unk>",
    "<pad>",
    "\n",
    "pick",
    "up",
    "the",
    "red",
    "green",
    "cube",
    "and",
    "put",
    "it",
    "now",
    "Task",
    "State",
]
SIDE = 28  # of an image, in pixels: 2 x 2 patches
WIDTH = 32
CLASSES = {
    "pi0": (PI0Config, modeling_pi0.PI0Policy, make_pi0_pre_post_processors),
    "pi05": (PI05Config, modeling_pi05.PI05Policy, make_pi05_pre_post_processors),
}


def _fixed(config: type, **sizes: int) -> type:
    """Return a class of configurations whose `sizes` nobody can change."""

    class Fixed(config):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, sizes.get(name, value))

    Fixed.__name__ = config.__name__
    return Fixed


Vision = _fixed(
    SiglipVisionConfig,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    patch_size=14,
    num_attention_heads=2,
    projection_dim=WIDTH,
)
Text = _fixed(GemmaConfig, vocab_size=len(WORDS))


@contextmanager
def small_sizes() -> Iterator[None]:
    """Let lerobot's classes build small networks."""

    def paligemma() -> Any:
        return CONFIG_MAPPING["paligemma"](text_config=Text(), vision_config=Vision(), projection_dim=WIDTH)

    def sizes(variant: str) -> Any:
        return modeling_pi0.GemmaConfig(width=WIDTH, depth=2, mlp_dim=64, num_heads=8, num_kv_heads=1, head_dim=8)

    with pytest.MonkeyPatch.context() as patch:
        for module in (modeling_pi0, modeling_pi05):
            patch.setattr(module, "CONFIG_MAPPING", {"paligemma": paligemma, "gemma": Text})
            patch.setattr(module, "get_gemma_config", sizes)
        yield


def make_tiny_pi(
    folder: Path,
    kind: str,
    *,
    cameras: Sequence[str] = ("front",),
    state_dim: int = 5,
    action_dim: int = 4,
    chunk: int = 6,
    **config_overrides: Any,
) -> Path:
    """Write a whole checkpoint (weights, config, processors, tokenizer) and return its folder."""
    configuration, policy, processors = CLASSES[kind]
    image = PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE))
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (state_dim,))}
    inputs |= {f"observation.images.{camera}": image for camera in cameras}
    fields: dict[str, Any] = {
        "input_features": inputs,
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (action_dim,))},
        "chunk_size": chunk,
        "n_action_steps": chunk,
        "max_state_dim": state_dim + 3,
        "max_action_dim": action_dim + 2,
        "image_resolution": (SIDE, SIDE),
        "tokenizer_max_length": 24,
        "num_inference_steps": 3,
        "device": "cpu",
        **config_overrides,
    }
    config = configuration(**fields)
    with small_sizes(), torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        saved = policy(config)
        for weight in saved.parameters():  # lerobot begins adaptive norms at zero, where time has no effect
            weight.data.add_(torch.randn_like(weight.float()).to(weight) * 0.02)
    saved.save_pretrained(folder)
    stats = random_stats({**config.input_features, **config.output_features})
    save_processors(folder, lambda: processors(config, dataset_stats=stats), WORDS)
    return folder
