"""Writes lerobot multi-task DiT checkpoints of small random weights in about a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.multi_task_dit import modeling_multi_task_dit
from lerobot.policies.multi_task_dit.configuration_multi_task_dit import MultiTaskDiTConfig
from lerobot.policies.multi_task_dit.processor_multi_task_dit import make_multi_task_dit_pre_post_processors
from lerobot.processor import TokenizerProcessorStep
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CLIPConfig, CLIPTextModel, CLIPVisionModel, PreTrainedTokenizerFast

from dsrl.policy._lerobot import quiet
from toys.tiny_diffusion import random_stats

WORDS = ["<unk>", "<pad>", "<end>", "pick", "up", "the", "red", "cube"]
SIDE = 32  # of an image, in pixels
BOTH = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = CLIPConfig(
    text_config={**BOTH, "vocab_size": len(WORDS), "max_position_embeddings": 8, "eos_token_id": 2},
    vision_config={**BOTH, "image_size": SIDE, "patch_size": 16},
)


def make_tiny_dit(folder: Path, **config_overrides: Any) -> Path:
    """Write a whole checkpoint with its CLIP's sizes and tokenizer under `clip/`, and return its folder."""
    (folder / "clip").mkdir(parents=True)
    (folder / "clip" / "config.json").write_text(json.dumps({**CLIP.to_dict(), "model_type": "clip"}, default=str))
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(folder / "clip")
    inputs = {
        "observation.state": PolicyFeature(FeatureType.STATE, (2,)),
        "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
    }
    fields: dict[str, Any] = {
        "input_features": inputs,
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (2,))},
        "horizon": 8,
        "n_action_steps": 4,
        "hidden_dim": 32,
        "num_layers": 1,
        "num_heads": 2,
        "timestep_embed_dim": 16,
        "num_inference_steps": 4,
        "num_integration_steps": 4,
        "image_crop_shape": None,
        "vision_encoder_name": "clip",
        "text_encoder_name": "clip",
        "tokenizer_max_length": 8,
        "device": "cpu",
        **config_overrides,
    }
    config = MultiTaskDiTConfig(**fields)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        for name, model, part in (
            ("CLIPVisionModel", CLIPVisionModel, CLIP.vision_config),
            ("CLIPTextModel", CLIPTextModel, CLIP.text_config),
        ):
            built = type(name, (), {"from_pretrained": staticmethod(lambda _, model=model, part=part: model(part))})
            patch.setattr(modeling_multi_task_dit, name, built)
        policy = modeling_multi_task_dit.MultiTaskDiTPolicy(config)
        for weight in policy.parameters():  # lerobot begins adaptive norms at zero, where nothing conditions
            weight.data.add_(torch.randn_like(weight) * 0.05)
        policy.save_pretrained(folder)
        patch.setattr("lerobot.processor.tokenizer_processor.AutoTokenizer.from_pretrained", lambda name: tokenizer)
        stats = random_stats({**config.input_features, **config.output_features})
        for pipeline in make_multi_task_dit_pre_post_processors(config, dataset_stats=stats):
            for step in pipeline.steps:
                if isinstance(step, TokenizerProcessorStep):
                    step.tokenizer_name = "clip"
            pipeline.save_pretrained(folder)
    return folder
