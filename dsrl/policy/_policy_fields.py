"""The fields of lerobot's configurations and processor steps: their types and ranges, per policy type."""

from __future__ import annotations

from dsrl.schema import (
    Check,
    anything,
    choice,
    constant,
    flag,
    integer,
    mapping,
    number,
    optional,
    record,
    sequence,
    text,
)

DIM = integer(1, 4096)  # of a state, an action or one side of an image
_KEY = text(longest=200)  # of a feature, as observation.images.front
_COUNT = integer(0, 10**9)  # of training steps
_RATE = number(0, 1e6)  # of an optimiser, which never runs here
_FEATURE_TYPE = choice("STATE", "VISUAL", "ENV", "ACTION", "REWARD", "LANGUAGE")
_NORMALISATION = choice("MIN_MAX", "MEAN_STD", "IDENTITY", "QUANTILES", "QUANTILE10")
_DEVICE = text(r"(cpu|cuda|mps|xpu)(:\d{1,3})?", meaning="cpu, cuda, mps or xpu")
_FLOAT = choice("float32", "float16", "bfloat16")
_FEATURES = mapping(
    _KEY, record({"type": _FEATURE_TYPE, "shape": sequence(DIM, 1, 4)}, required=("type", "shape")), most=64
)
_NORM_MAP = mapping(_FEATURE_TYPE, _NORMALISATION, most=6)
_NAMES = sequence(text(), 0, 4096)  # of joints or actions
STATE_FILE = text(r"[A-Za-z0-9][\w.-]*\.safetensors", meaning="the name of a .safetensors file beside it, with no path")
FOLDER_NAME = text(r"[^\x00-\x1f]+", 500, meaning="a folder inside the checkpoint or a hub id")

CONFIG: dict[str, Check] = {  # of every lerobot policy
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
OPTIMISER: dict[str, Check] = {
    "optimizer_lr": _RATE,
    "optimizer_betas": sequence(number(0, 1), 2, 2),
    "optimizer_eps": _RATE,
    "optimizer_weight_decay": _RATE,
    "optimizer_grad_clip_norm": _RATE,
    "scheduler_warmup_steps": _COUNT,
    "scheduler_decay_steps": _COUNT,
    "scheduler_decay_lr": _RATE,
}
STEPS: dict[str, Check] = {  # of every lerobot policy
    "rename_observations_processor": record({"rename_map": mapping(_KEY, _KEY, most=64)}),
    "to_batch_processor": record({}),
    "device_processor": record({"device": _DEVICE, "float_dtype": optional(_FLOAT)}),
}
NORMALISER = record(
    {
        "eps": number(0, 1),
        "features": _FEATURES,
        "norm_map": _NORM_MAP,
        "normalize_observation_keys": optional(sequence(_KEY, 0, 64)),
    },
    required=("features", "norm_map"),
)
TOKENIZER = record(
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
SMOLVLA: dict[str, Check] = {
    "chunk_size": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "max_state_dim": DIM,
    "max_action_dim": DIM,
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
_LEVELS: dict[str, Check] = {  # of a noise that diffusers schedules
    "noise_scheduler_type": choice("DDPM", "DDIM"),
    "num_train_timesteps": integer(1, 1000),
    "beta_schedule": choice("linear", "scaled_linear", "squaredcos_cap_v2"),
    "beta_start": number(0, 1),
    "beta_end": number(0, 1),
    "prediction_type": choice("epsilon", "sample"),
    "clip_sample": flag,
    "clip_sample_range": number(1e-3, 1e3),
    "num_inference_steps": optional(integer(1, 1000)),
    "do_mask_loss_for_padding": flag,
}
DIFFUSION: dict[str, Check] = {
    **_LEVELS,
    "horizon": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "drop_n_last_frames": integer(0, 1024),
    "vision_backbone": choice("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "resize_shape": optional(sequence(integer(1, 2048), 2, 2)),
    "crop_ratio": number(0.01, 1),
    "crop_shape": optional(sequence(integer(1, 2048), 2, 2)),
    "crop_is_random": flag,
    "pretrained_backbone_weights": optional(text()),  # never downloaded
    "use_group_norm": flag,
    "spatial_softmax_num_keypoints": integer(1, 4096),
    "use_separate_rgb_encoder_per_camera": flag,
    "down_dims": sequence(integer(1, 8192), 1, 8),
    "kernel_size": integer(1, 63),
    "n_groups": integer(1, 1024),
    "diffusion_step_embed_dim": integer(4, 8192),
    "use_film_scale_modulation": flag,
    "gradient_checkpointing": flag,
    "compile_model": flag,
    "compile_mode": text(),
    "scheduler_name": text(),
}
PI: dict[str, Check] = {
    "paligemma_variant": choice("gemma_300m", "gemma_2b"),
    "action_expert_variant": choice("gemma_300m", "gemma_2b"),
    "dtype": choice("float32", "bfloat16"),
    "chunk_size": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "max_state_dim": DIM,
    "max_action_dim": DIM,
    "num_inference_steps": integer(1, 100),
    "time_sampling_beta_alpha": number(0, 1e3),
    "time_sampling_beta_beta": number(0, 1e3),
    "time_sampling_scale": number(0, 1),
    "time_sampling_offset": number(0, 1),
    "min_period": number(1e-9, 1e9),
    "max_period": number(1e-9, 1e9),
    "use_relative_actions": constant(False),  # their origin would be a memory outside of the encoding
    "relative_exclude_joints": _NAMES,
    "action_feature_names": optional(_NAMES),
    "rtc_config": optional(_REAL_TIME_CHUNKING),
    "image_resolution": sequence(integer(14, 1024), 2, 2),
    "empty_cameras": integer(0, 16),
    "gradient_checkpointing": flag,
    "compile_model": flag,
    "compile_mode": text(),
    "freeze_vision_encoder": flag,
    "train_expert_only": flag,
    "tokenizer_max_length": integer(1, 4096),
}
RELATIVE = record({"enabled": constant(False), "exclude_joints": _NAMES, "action_names": optional(_NAMES)})
_PIXELS = integer(28 * 28, 2048 * 28 * 28)  # of an image; EO-1 has 64 to 128 times 28 * 28
EO1_CONVERSATION = record(
    {"input_features": _FEATURES, "chunk_size": integer(1, 1024)}, required=("input_features", "chunk_size")
)
EO1_QWEN = record(
    {
        "processor_name": FOLDER_NAME,
        "image_min_pixels": _PIXELS,
        "image_max_pixels": _PIXELS,
        "use_fast_processor": flag,
    },
    required=("image_min_pixels", "image_max_pixels"),
)
EO1: dict[str, Check] = {
    "vlm_base": FOLDER_NAME,
    "vlm_config": mapping(text(), anything, most=200),  # read by `_qwen`, which leaves out what it does not know
    "image_min_pixels": _PIXELS,
    "image_max_pixels": _PIXELS,
    "use_fast_processor": flag,
    "chunk_size": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "max_state_dim": DIM,
    "max_action_dim": DIM,
    "num_denoise_steps": integer(1, 100),
    "num_action_layers": integer(1, 16),
    "action_act": choice("linear", "silu", "gelu", "relu", "tanh"),
    "time_sampling_beta_alpha": number(0, 1e3),
    "time_sampling_beta_beta": number(0, 1e3),
    "time_sampling_scale": number(0, 1),
    "time_sampling_offset": number(0, 1),
    "min_period": number(1e-9, 1e9),
    "max_period": number(1e-9, 1e9),
    "supervise_padding_action_dims": flag,
    "supervise_padding_actions": flag,
    "dtype": choice("auto", "float32", "bfloat16"),
    "force_fp32_autocast": flag,
    "attn_implementation": optional(choice("eager", "sdpa", "flash_attention_2")),
    "gradient_checkpointing": flag,
}
DIT: dict[str, Check] = {
    "horizon": integer(1, 1024),
    "n_action_steps": integer(1, 1024),
    "objective": choice("diffusion", "flow_matching"),
    **_LEVELS,
    "sigma_min": number(0, 1),
    "num_integration_steps": integer(1, 1000),
    "integration_method": choice("euler", "rk4"),
    "timestep_sampling_strategy": choice("uniform", "beta"),
    "timestep_sampling_s": number(0, 1),
    "timestep_sampling_alpha": number(0, 1e3),
    "timestep_sampling_beta": number(0, 1e3),
    "hidden_dim": integer(1, 8192),
    "num_layers": integer(1, 128),
    "num_heads": integer(1, 256),
    "dropout": number(0, 1),
    "use_positional_encoding": flag,
    "timestep_embed_dim": integer(4, 8192),
    "use_rope": flag,
    "rope_base": number(1, 1e9),
    "vision_encoder_name": FOLDER_NAME,
    "use_separate_rgb_encoder_per_camera": flag,
    "vision_encoder_lr_multiplier": number(0, 1e3),
    "image_resize_shape": optional(sequence(integer(1, 2048), 2, 2)),
    "image_crop_shape": optional(sequence(integer(1, 2048), 2, 2)),
    "image_crop_is_random": flag,
    "text_encoder_name": FOLDER_NAME,
    "tokenizer_max_length": integer(1, 4096),
    "tokenizer_padding": choice("longest", "max_length"),
    "tokenizer_padding_side": choice("left", "right"),
    "tokenizer_truncation": flag,
    "scheduler_name": text(),
    "do_mask_loss_for_padding": flag,
    "drop_n_last_frames": optional(integer(-1024, 1024)),
}
