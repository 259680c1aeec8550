"""The backbone of a SmolVLA: its sizes and its tokenizer, copied for transformers without anything that names code.

    vlm/config.json            --fields of `_smolvlm_fields`--> config.json
    vlm/tokenizer_config.json  --fields of `_smolvlm_fields`--> tokenizer_config.json    private temporary folder
    vlm/tokenizer.json, …      --size and kinds of parts-----> the same file
                                                 constant ---> processor_config.json

transformers reads from the private folder alone. Whatever else a backbone's folder has (processors, chat templates,
Python files, pickles) is never opened: SmolVLA uses none of it. A key that these tables do not have is left out, except
`auto_map`, by which a folder asks for its own code: that is refused.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsrl.policy._checkpoint_files import MIB, bound_attention, read_json
from dsrl.policy._smolvlm_fields import PROCESSOR, TEXT, VISION, VLM
from dsrl.policy._tokenizer import chosen, copy_tokenizer, refuse_code, source, write
from dsrl.schema import record

MAX_VOCABULARY = 16 * MIB  # of one file; SmolVLM's have 3.5 MiB


@contextlib.contextmanager
def clean_backbone(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a private folder with the checked configuration and tokenizer of `folder`, which lies in `root`.

    Raises:
        FileNotFoundError: if the tokenizer is missing.
        ValueError: if a file is not what a SmolVLM has, leads out of `root`, or names code.
    """
    config = read_backbone(folder, root)
    with tempfile.TemporaryDirectory(prefix="dsrl_backbone_") as name:
        clean = Path(name)
        write(clean / "config.json", config)
        write(clean / "processor_config.json", PROCESSOR)
        copy_tokenizer(folder, root, clean, MAX_VOCABULARY)
        yield clean


def read_backbone(folder: Path, root: Path) -> dict[str, Any]:
    """Read the sizes of a SmolVLM from its config.json. Raises ValueError for another model or for other values."""
    file = source(folder, root, "config.json")
    found = read_json(file)
    refuse_code(file, found)
    parts = {"text_config": TEXT, "vision_config": VISION}
    config = chosen(found, VLM)
    record(VLM, required=("model_type",))(str(file), config)
    for name, fields in parts.items():
        part = found.get(name)
        if not isinstance(part, dict):
            raise ValueError(f"{file} has no {name}; copy the config.json of a SmolVLM there")
        config[name] = chosen(part, fields)
        record(fields)(f"{file}: {name}", config[name])
    return config


def check_lengths(config: dict[str, Any], policy: Any, where: Path) -> None:
    """Bound the weights of attention over the patches of an image and over the tokens of a decision.

    `config` is that of `read_backbone`, `policy` a SmolVLAConfig. Raises ValueError.
    """
    vision, text = config["vision_config"], config["text_config"]
    height, width = policy.resize_imgs_with_padding
    patch = vision.get("patch_size", 32)
    patches = -(-height // patch) * -(-width // patch)
    images = len(policy.image_features) + policy.empty_cameras
    tokens = images * (patches // config.get("scale_factor", 2) ** 2 + 2) + policy.tokenizer_max_length
    tokens = max(tokens, policy.prefix_length) + policy.chunk_size
    for name, length, heads in (
        ("patches of an image", patches, vision.get("num_attention_heads", 16)),
        ("tokens of a decision", tokens, text.get("num_attention_heads", 32)),
    ):
        bound_attention(where, name, length, heads)
