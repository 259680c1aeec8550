"""Makes lerobot VLA-JEPA policies of small random weights in a few seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.vla_jepa.configuration_vla_jepa import VLAJEPAConfig
from lerobot.policies.vla_jepa.modeling_vla_jepa import VLAJEPAPolicy
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from dsrl.policy._lerobot import quiet
from toys.tiny_eo1 import IDS, TEMPLATE, WIDTH, WORDS, make_tokenizer

SIDE = 64  # of an image, in pixels: 4 x 4 patches of 16, 2 x 2 tokens
CHUNK, ACTION = 3, 4


def make_tiny_vla_jepa(folder: Path) -> VLAJEPAPolicy:
    """Return a policy without its world model, which only its training reads; its Qwen3-VL is written to `folder`."""
    pixels = {"size": {"shortest_edge": SIDE**2, "longest_edge": SIDE**2}, "patch_size": 16}
    parts = Qwen2VLImageProcessor(**pixels), make_tokenizer(), Qwen3VLVideoProcessor()
    Qwen3VLProcessor(*parts, chat_template=TEMPLATE).save_pretrained(folder)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    text = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": len(WORDS), **heads}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": WIDTH}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    sizes = Qwen3VLConfig(
        text_config={**text, "rope_parameters": rope}, vision_config=vision, tie_word_embeddings=True, **IDS
    )
    config = VLAJEPAConfig(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (5,)),
            "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        qwen_model_name=str(folder),
        enable_world_model=False,
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        action_model_type="DiT-test",
        action_hidden_size=16,
        action_num_layers=1,
        num_embodied_action_tokens_per_instruction=4,
        prompt_template="{instruction} {actions} {e_actions}",
        torch_dtype="float32",
        device="cpu",
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        Qwen3VLForConditionalGeneration(sizes).save_pretrained(folder)
        return VLAJEPAPolicy(config).eval()
