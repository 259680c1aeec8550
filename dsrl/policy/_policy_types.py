"""The lerobot policies that dsrl loads: per type, which configuration and which processor steps a checkpoint may have.

Everything outside these tables is refused before lerobot reads it, because lerobot's registry also has steps that
download, import and run code that a checkpoint names. A new policy type is one more entry of `POLICY_TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsrl.policy._checkpoint_files import MIB
from dsrl.policy._schema import Check, choice, flag, integer, mapping, number, optional, record, sequence, text

_DIM = integer(1, 4096)  # of a state, an action or one side of an image
_KEY = text(longest=200)  # of a feature, as observation.images.front
_COUNT = integer(0, 10**9)  # of training steps
_RATE = number(0, 1e6)  # of an optimiser, which never runs here
_FEATURE_TYPE = choice("STATE", "VISUAL", "ENV", "ACTION", "REWARD", "LANGUAGE")
_NORMALISATION = choice("MIN_MAX", "MEAN_STD", "IDENTITY", "QUANTILES", "QUANTILE10")
_DEVICE = text(r"(cpu|cuda|mps|xpu)(:\d{1,3})?", meaning="cpu, cuda, mps or xpu")
_FLOAT = choice("float32", "float16", "bfloat16")
_FEATURES = mapping(
    _KEY, record({"type": _FEATURE_TYPE, "shape": sequence(_DIM, 1, 4)}, required=("type", "shape")), most=64
)
_NORM_MAP = mapping(_FEATURE_TYPE, _NORMALISATION, most=6)
STATE_FILE = text(r"[A-Za-z0-9][\w.-]*\.safetensors", meaning="the name of a .safetensors file beside it, with no path")
FOLDER_NAME = text(r"[^\x00-\x1f]+", 500, meaning="a folder inside the checkpoint or a hub id")


@dataclass(frozen=True)
class PolicyType:
    """Everything that a checkpoint of one lerobot policy may contain."""

    config: Check  # of config.json
    preprocessor: Mapping[str, Check]  # registered step -> check of its arguments
    postprocessor: Mapping[str, Check]
    needed: tuple[str, ...]  # steps without which lerobot would silently compute something else
    unused_weights: tuple[str, ...]  # beginnings of the names of weights that touch no action
    largest_weights: int  # bytes of model.safetensors


_CONFIG: dict[str, Check] = {  # of every lerobot policy
    "type": text(),
    "n_obs_steps": integer(1, 16),
    "input_features": _FEATURES,
    "output_features": _FEATURES,
    "normalization_mapping": _NORM_MAP,
    "device": optional(text(longest=20)),  # never used: the user chooses the device
    "use_amp": flag,
    "use_peft": flag,
    "push_to_hub": flag,
    "repo_id": optional(text()),
    "private": optional(flag),
    "tags": optional(sequence(text(), 0, 100)),
    "license": optional(text()),
    "pretrained_path": optional(text(longest=4096)),  # where training began; never opened
    "pretrained_revision": optional(text()),
}
_OPTIMISER: dict[str, Check] = {
    "optimizer_lr": _RATE,
    "optimizer_betas": sequence(number(0, 1), 2, 2),
    "optimizer_eps": _RATE,
    "optimizer_weight_decay": _RATE,
    "optimizer_grad_clip_norm": _RATE,
    "scheduler_warmup_steps": _COUNT,
    "scheduler_decay_steps": _COUNT,
    "scheduler_decay_lr": _RATE,
}
_STEPS: dict[str, Check] = {  # of every lerobot policy
    "rename_observations_processor": record({"rename_map": mapping(_KEY, _KEY, most=64)}),
    "to_batch_processor": record({}),
    "device_processor": record({"device": _DEVICE, "float_dtype": optional(_FLOAT)}),
}
_NORMALISER = record(
    {
        "eps": number(0, 1),
        "features": _FEATURES,
        "norm_map": _NORM_MAP,
        "normalize_observation_keys": optional(sequence(_KEY, 0, 64)),
    },
    required=("features", "norm_map"),
)
_TOKENIZER = record(
    {
        "tokenizer_name": FOLDER_NAME,
        "max_length": integer(1, 4096),
        "task_key": choice("task"),
        "padding_side": choice("left", "right"),
        "padding": choice("longest", "max_length"),
        "truncation": flag,
    },
    required=("max_length",),
)
_REAL_TIME_CHUNKING = record(
    {
        "enabled": flag,
        "prefix_attention_schedule": choice("ZEROS", "ONES", "LINEAR", "EXP"),
        "max_guidance_weight": number(0, 1e6),
        "execution_horizon": integer(0, 1024),
        "debug": flag,
        "debug_maxlen": integer(1, 10**6),
    }
)
_SMOLVLA: dict[str, Check] = {
    "chunk_size": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "max_state_dim": _DIM,
    "max_action_dim": _DIM,
    "resize_imgs_with_padding": sequence(integer(1, 2048), 2, 2),
    "empty_cameras": integer(0, 16),
    "adapt_to_pi_aloha": flag,
    "use_delta_joint_actions_aloha": flag,
    "tokenizer_max_length": integer(1, 4096),
    "num_steps": integer(1, 100),
    "use_cache": flag,
    "freeze_vision_encoder": flag,
    "train_expert_only": flag,
    "train_state_proj": flag,
    "vlm_model_name": FOLDER_NAME,
    "load_vlm_weights": flag,
    "add_image_special_tokens": flag,
    "attention_mode": choice("cross_attn", "self_attn"),
    "prefix_length": integer(-1, 4096),
    "pad_language_to": choice("longest", "max_length"),
    "num_expert_layers": integer(-1, 128),
    "num_vlm_layers": integer(-1, 128),
    "self_attn_every_n_layers": integer(-1, 128),
    "expert_width_multiplier": number(0.01, 8),
    "min_period": number(1e-9, 1e9),
    "max_period": number(1e-9, 1e9),
    "rtc_config": optional(_REAL_TIME_CHUNKING),
    "compile_model": flag,
    "compile_mode": text(),
}

POLICY_TYPES: dict[str, PolicyType] = {
    "smolvla": PolicyType(
        config=record({**_CONFIG, **_OPTIMISER, **_SMOLVLA}, required=("input_features", "output_features")),
        preprocessor={
            **_STEPS,
            "smolvla_new_line_processor": record({}),
            "tokenizer_processor": _TOKENIZER,
            "normalizer_processor": _NORMALISER,
        },
        postprocessor={**_STEPS, "unnormalizer_processor": _NORMALISER},
        needed=("tokenizer_processor", "normalizer_processor", "unnormalizer_processor"),
        unused_weights=("model.vlm_with_expert.vlm.lm_head.",),  # SmolVLA writes actions, never words
        largest_weights=8192 * MIB,  # SmolVLA has 0.9 or 1.8 GB
    ),
}
