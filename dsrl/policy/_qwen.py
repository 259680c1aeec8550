"""The Qwen2.5-VL of a policy: its sizes, and its processor copied for transformers without anything that names code.

    config.json: vlm_config           --fields below--------> sizes of both towers
    vlm/tokenizer.json, …             --`_tokenizer`--------> the same file
    vlm/preprocessor_config.json      --fields below--------> preprocessor_config.json    private temporary folder
                                      constant -------------> chat_template.jinja

A chat template is a program. The folder's own is never opened: the constant renders a policy's conversation as
Qwen2.5-VL's template does.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsrl.policy._checkpoint_files import file_inside, read_json
from dsrl.policy._tokenizer import MAX_VOCABULARY, chosen, copy_tokenizer, refuse_code, write
from dsrl.schema import Check, choice, constant, flag, integer, number, optional, record, sequence

CONVERSATION = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)
_WIDTH, _HEADS, _LAYERS = integer(1, 16384), integer(1, 256), integer(1, 128)
_TOKEN_ID = optional(integer(0, 10**6))
_FLOAT = optional(choice("float32", "float16", "bfloat16", "auto"))
_ACTIVATION = choice("silu", "gelu", "gelu_pytorch_tanh", "quick_gelu")
_ROPE = record(
    {
        "rope_type": choice("default", "mrope"),
        "type": choice("default", "mrope"),
        "rope_theta": number(1, 1e9),
        "mrope_section": sequence(integer(0, 1024), 3, 3),
    }
)
_BOTH: dict[str, Check] = {"hidden_size": _WIDTH, "intermediate_size": integer(1, 65536), "hidden_act": _ACTIVATION}
TEXT: dict[str, Check] = {
    **_BOTH,
    "dtype": _FLOAT,
    "vocab_size": integer(1, 10**6),
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": optional(_HEADS),
    "max_position_embeddings": integer(1, 10**7),
    "rms_norm_eps": number(1e-12, 1),
    "attention_dropout": number(0, 1),
    "use_sliding_window": constant(False),  # a window would hide the beginning of the prefix
    "rope_theta": number(1, 1e9),
    "rope_scaling": optional(_ROPE),
    "rope_parameters": optional(_ROPE),
    "pad_token_id": _TOKEN_ID,
    "bos_token_id": _TOKEN_ID,
    "eos_token_id": _TOKEN_ID,
}
VISION: dict[str, Check] = {
    **_BOTH,
    "dtype": _FLOAT,
    "depth": _LAYERS,
    "num_heads": _HEADS,
    "in_channels": constant(3),
    "patch_size": integer(2, 64),
    "spatial_merge_size": integer(1, 8),
    "temporal_patch_size": integer(1, 8),
    "tokens_per_second": number(1, 100),
    "window_size": integer(8, 4096),
    "out_hidden_size": _WIDTH,
    "fullatt_block_indexes": sequence(integer(0, 127), 0, 128),
}
WHOLE: dict[str, Check] = {
    "dtype": _FLOAT,
    "image_token_id": _TOKEN_ID,
    "video_token_id": _TOKEN_ID,
    "vision_start_token_id": _TOKEN_ID,
    "vision_end_token_id": _TOKEN_ID,
    "tie_word_embeddings": flag,
}
_COLOUR = sequence(number(-10, 10), 3, 3)
IMAGES: dict[str, Check] = {  # of the image processor; a policy chooses the numbers of pixels
    "patch_size": integer(2, 64),
    "temporal_patch_size": integer(1, 8),
    "merge_size": integer(1, 8),
    "image_mean": _COLOUR,
    "image_std": _COLOUR,
    "rescale_factor": number(1e-6, 1),
    "resample": integer(0, 5),
}


def read_qwen(file: Path, found: Any) -> dict[str, Any]:
    """Return the known sizes of a Qwen2.5-VL described inside `file`. Raises ValueError for other values."""
    refuse_code(file, found)
    if not isinstance(found, dict) or found.get("model_type") != "qwen2_5_vl":
        raise ValueError(f"{file} has a vlm_config that is not a Qwen2.5-VL's; save it with lerobot")
    sizes = chosen(found, WHOLE)
    record(WHOLE)(f"{file}: vlm_config", sizes)
    for name, fields in (("text_config", TEXT), ("vision_config", VISION)):
        part = found.get(name)
        if not isinstance(part, dict):
            raise ValueError(f"{file} has a vlm_config without {name}; save it with the installed lerobot")
        sizes[name] = chosen(part, fields)
        record(fields)(f"{file}: vlm_config.{name}", sizes[name])
    return sizes


@contextlib.contextmanager
def clean_processor(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a private folder with the checked tokenizer and image processor of `folder`, which lies in `root`.

    Raises:
        FileNotFoundError: if the tokenizer is missing.
        ValueError: if a file is not what a Qwen2.5-VL has, leads out of `root`, or names code.
    """
    with tempfile.TemporaryDirectory(prefix="dsrl_processor_") as name:
        clean = Path(name)
        copy_tokenizer(folder, root, clean, MAX_VOCABULARY)
        images = {**_read_images(folder, root), "image_processor_type": "Qwen2VLImageProcessor"}
        videos = {"video_processor_type": "Qwen2VLVideoProcessor"}
        write(clean / "preprocessor_config.json", {**images, "processor_class": "Qwen2_5_VLProcessor"})
        write(clean / "video_preprocessor_config.json", {**videos, "processor_class": "Qwen2_5_VLProcessor"})
        (clean / "chat_template.jinja").write_text(CONVERSATION, encoding="utf-8")
        yield clean


def _read_images(folder: Path, root: Path) -> dict[str, Any]:
    """Read the fields of the image processor, from where transformers of either generation saves them."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = file_inside(root, str(folder / name))
        found = read_json(file) if file.is_file() else {}
        refuse_code(file, found)
        images = found.get("image_processor") if name == "processor_config.json" else found
        if isinstance(images, dict) and images:
            picked = chosen(images, IMAGES)
            record(IMAGES)(str(file), picked)
            return picked
    return {}
