"""The sizes of a CLIP whose encoders a policy uses, read from its config.json without anything that names code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsrl.policy._checkpoint_files import bound_attention, file_inside, read_json
from dsrl.policy._tokenizer import chosen, refuse_code
from dsrl.schema import Check, choice, integer, number, optional, record

_WIDTH = integer(1, 16384)
_COUNT = integer(1, 256)
_TOKEN_ID = optional(integer(0, 10**6))
_BOTH: dict[str, Check] = {
    "hidden_size": _WIDTH,
    "intermediate_size": integer(1, 65536),
    "projection_dim": _WIDTH,
    "num_hidden_layers": _COUNT,
    "num_attention_heads": _COUNT,
    "hidden_act": choice("quick_gelu", "gelu"),
    "layer_norm_eps": number(1e-12, 1),
    "attention_dropout": number(0, 1),
}
FIELDS: dict[str, dict[str, Check]] = {
    "text_config": {
        **_BOTH,
        "vocab_size": integer(1, 10**6),
        "max_position_embeddings": integer(1, 4096),
        "pad_token_id": _TOKEN_ID,
        "bos_token_id": _TOKEN_ID,
        "eos_token_id": _TOKEN_ID,
    },
    "vision_config": {**_BOTH, "image_size": integer(1, 2048), "patch_size": integer(1, 512)},
}


def read_clip(folder: Path, root: Path) -> dict[str, dict[str, Any]]:
    """Read the sizes of both encoders of the CLIP in `folder`, which lies in `root`.

    Raises ValueError for another model or for other values.
    """
    file = file_inside(root, str(folder / "config.json"))
    found = read_json(file)
    refuse_code(file, found)
    if found.get("model_type") != "clip":
        raise ValueError(f"{file} is not the config.json of a CLIP; copy the one that the policy was trained with")
    sizes = {}
    for part, fields in FIELDS.items():
        given = found.get(part)
        sizes[part] = chosen(given, fields) if isinstance(given, dict) else {}
        record(fields)(f"{file}: {part}", sizes[part])
    vision = sizes["vision_config"]
    patches = (vision.get("image_size", 224) // vision.get("patch_size", 32)) ** 2
    bound_attention(file, "patches of an image", patches, vision.get("num_attention_heads", 12))
    return sizes
