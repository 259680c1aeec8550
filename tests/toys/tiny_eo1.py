"""Writes lerobot EO-1 checkpoints of small random weights in a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.eo1.configuration_eo1 import EO1Config
from lerobot.policies.eo1.modeling_eo1 import EO1Policy
from lerobot.policies.eo1.processor_eo1 import EO1QwenProcessorStep, make_eo1_pre_post_processors
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from dsrl.policy._lerobot import quiet
from toys.tiny_diffusion import random_stats

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
WORDS = ["<unk>", "<pad>", *SPECIAL, "system", "user", "assistant", "pick", "up", "the", "red", "cube", "now"]
IDS = {f"{word}_token_id": WORDS.index(f"<|{word}|>") for word in ("vision_start", "vision_end")}
IDS |= {f"{word}_token_id": WORDS.index(f"<|{word}_pad|>") for word in ("image", "video")}
SIDE = 56  # of an image, in pixels: 4 x 4 patches, 2 x 2 tokens
WIDTH = 32
TEMPLATE = (  # as Qwen2.5-VL's, for a conversation that begins with the system's message and has no videos
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in c %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words with the special ones of Qwen's VLMs."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", additional_special_tokens=SPECIAL
    )


def _write_vlm(folder: Path) -> dict[str, Any]:
    """Write tokenizer and processors of a small Qwen2.5-VL and return its sizes."""
    parts = Qwen2VLImageProcessor(), make_tokenizer(), Qwen2VLVideoProcessor()
    Qwen2_5_VLProcessor(*parts, chat_template=TEMPLATE).save_pretrained(folder)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    text = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64, **heads}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": WIDTH}
    return Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={**vision, "fullatt_block_indexes": [1]},
        tie_word_embeddings=True,
        **IDS,
    ).to_dict()


def make_tiny_eo1(
    folder: Path,
    *,
    cameras: Sequence[str] = ("front",),
    state_dim: int = 5,
    action_dim: int = 4,
    chunk: int = 6,
    **config_overrides: Any,
) -> Path:
    """Write a whole checkpoint with its Qwen2.5-VL's processors under `vlm/`, and return its folder."""
    image = PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE))
    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (state_dim,))}
    inputs |= {f"observation.images.{camera}": image for camera in cameras}
    fields: dict[str, Any] = {
        "input_features": inputs,
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (action_dim,))},
        "vlm_base": str(folder / "vlm"),
        "vlm_config": _write_vlm(folder / "vlm"),
        "image_min_pixels": SIDE**2,
        "image_max_pixels": SIDE**2,
        "chunk_size": chunk,
        "n_action_steps": chunk,
        "max_state_dim": state_dim + 3,
        "max_action_dim": action_dim + 2,
        "num_denoise_steps": 3,
        "dtype": "float32",
        "device": "cpu",
        "pretrained_path": "vlm",
        **config_overrides,
    }
    config = EO1Config(**fields)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        EO1Policy(config).save_pretrained(folder)
        stats = random_stats({**inputs, **config.output_features})
        pipelines = make_eo1_pre_post_processors(config, dataset_stats=stats)
        config.vlm_base = "vlm"
        config.save_pretrained(folder)
    for step in pipelines[0].steps:
        if isinstance(step, EO1QwenProcessorStep):
            step.processor_name = "vlm"
    for pipeline in pipelines:
        pipeline.save_pretrained(folder)
    return folder
