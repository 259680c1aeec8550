"""X-VLA and VLA-JEPA ignore their noise argument: their chunks depend on torch's random state alone, hence refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.utils.constants import OBS_IMAGES, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor
from toys import tiny_vla_jepa

from dsrl.policy._lerobot import quiet
from dsrl.policy.lerobot import IGNORES, REFUSED

SIDE, WIDTH = 32, 16
VISION = {
    "depths": [1, 1],
    "patch_size": [7, 3],
    "patch_stride": [4, 2],
    "patch_padding": [3, 1],
    "patch_prenorm": [False, True],
    "embed_dim": [8, WIDTH],
    "num_heads": [2, 2],
    "num_groups": [2, 2],
    "window_size": 4,
    "projection_dim": WIDTH,
}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
WIDTHS = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1}
TEXT = {"model_type": "bart", "vocab_size": 16, "d_model": WIDTH, "max_position_embeddings": 64, **HEADS, **WIDTHS}


def make_xvla() -> XVLAPolicy:
    config = XVLAConfig(
        input_features={
            OBS_STATE: PolicyFeature(FeatureType.STATE, (14,)),
            f"{OBS_IMAGES}.front": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (14,))},
        florence_config={"vision_config": VISION, "text_config": TEXT, "tie_word_embeddings": False},
        hidden_size=WIDTH,
        depth=1,
        num_heads=2,
        num_domains=2,
        len_soft_prompts=2,
        dim_time=8,
        max_len_seq=128,
        chunk_size=4,
        n_action_steps=4,
        action_mode="joint",
        num_denoising_steps=2,
        device="cpu",
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        return XVLAPolicy(config).eval()


def test_xvla_is_refused_because_no_noise_that_is_given_moves_its_chunk() -> None:
    batch = {
        OBS_STATE: torch.randn(2, 14),
        f"{OBS_IMAGES}.front": torch.rand(2, 3, SIDE, SIDE),
        OBS_LANGUAGE_TOKENS: torch.ones(2, 5, dtype=torch.int64),
    }
    check_that_noise_is_ignored(make_xvla(), batch, torch.randn(2, 4, 14))
    assert REFUSED["xvla"] == IGNORES


def test_vla_jepa_is_refused_because_no_noise_that_is_given_moves_its_chunk(tmp_path: Path) -> None:
    batch = {
        OBS_STATE: torch.randn(2, 5),
        f"{OBS_IMAGES}.front": torch.rand(2, 3, tiny_vla_jepa.SIDE, tiny_vla_jepa.SIDE),
        "task": ["pick up the red cube", "the cube now"],
    }
    given = torch.randn(2, tiny_vla_jepa.CHUNK, tiny_vla_jepa.ACTION)
    check_that_noise_is_ignored(tiny_vla_jepa.make_tiny_vla_jepa(tmp_path / "qwen"), batch, given)
    assert REFUSED["vla_jepa"] == IGNORES


def check_that_noise_is_ignored(policy: Any, batch: Mapping[str, Any], given: Tensor) -> None:
    def chunk(seed: int, noise: Tensor | None) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found: Tensor = policy.predict_action_chunk(dict(batch), noise=noise)
            return found

    assert chunk(7, None).shape == given.shape
    assert torch.equal(chunk(7, given), chunk(7, -given))
    assert torch.equal(chunk(7, given), chunk(7, None))
    assert (chunk(7, given) - chunk(8, given)).abs().max() > 1e-3  # another draw inside moves it
