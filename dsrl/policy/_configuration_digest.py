"""Digests of what a lerobot policy's chunks depend on besides its weights.

That is its configuration, processors and statistics, and the backbone's sizes and tokenizer, which have a digest apart:
earlier versions of dsrl compared the others alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsrl.policy._weights import tensors_sha256

_TRAINED = ("optimizer_", "scheduler_", "time_sampling_", "timestep_sampling_", "supervise_", "freeze_", "train_")
_LEFT_OUT = {
    *("device", "use_amp", "use_peft", "compile_mode"),  # of a machine, or never read here
    *("push_to_hub", "repo_id", "private", "tags", "license", "pretrained_path", "pretrained_revision"),
    *("vlm_model_name", "vlm_base", "vision_encoder_name", "text_encoder_name"),  # places, which differ by machine
    *("tokenizer_name", "processor_name"),
    *("normalization_mapping", "pretrained_backbone_weights"),  # the steps' and the checkpoint's count
    *("do_mask_loss_for_padding", "drop_n_last_frames", "vision_encoder_lr_multiplier", "dropout"),  # of training
    *("crop_is_random", "image_crop_is_random", "gradient_checkpointing"),
}


def configuration_sha256(config: Any, *pipelines: Any) -> str:
    """Return the SHA-256 of what `config` and the steps of `pipelines`, as lerobot has loaded them, say about chunks.

    The same policy has the same one wherever it lies, on every device and once lerobot has saved it again.
    """
    steps = [
        (type(step).__name__, _played(step.get_config()), tensors_sha256(step.state_dict().items()))
        for pipeline in pipelines
        for step in pipeline.steps
    ]
    return content_sha256([_played(asdict(config)), steps])  # in their order: that of the cameras counts


def content_sha256(content: Any) -> str:
    """Return the SHA-256 of plain values, in the order of their keys."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def tokenizer_sha256(folder: Path) -> str:
    """Return the SHA-256 of a tokenizer's two files; others of a folder repeat them, and need not be there."""
    names = ("tokenizer.json", "tokenizer_config.json")
    return content_sha256([hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names])


def _played(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields that no chunk depends on."""
    return {name: value for name, value in fields.items() if name not in _LEFT_OUT and not name.startswith(_TRAINED)}
