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
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsrl.policy._checkpoint_files import MIB, file_inside, read_json
from dsrl.policy._schema import Check, optional, record
from dsrl.policy._smolvlm_fields import NORMALIZERS, PADDING, PROCESSOR, TEXT, TOKENIZER, VISION, VLM, VOCABULARY, token

MAX_ATTENTION = 2**28  # attention weights of one layer, 1 GiB in float32; SmolVLA has 13 million
MERGES = "merges.txt"
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
        _write(clean / "config.json", config)
        _write(clean / "processor_config.json", PROCESSOR)
        _copy_tokenizer(folder, root, clean)
        yield clean


def read_backbone(folder: Path, root: Path) -> dict[str, Any]:
    """Read the sizes of a SmolVLM from its config.json. Raises ValueError for another model or for other values."""
    file = _source(folder, root, "config.json")
    found = read_json(file)
    _refuse_code(file, found)
    parts = {"text_config": TEXT, "vision_config": VISION}
    config = _chosen(found, VLM)
    record(VLM, required=("model_type",))(str(file), config)
    for name, fields in parts.items():
        part = found.get(name)
        if not isinstance(part, dict):
            raise ValueError(f"{file} has no {name}; copy the config.json of a SmolVLM there")
        config[name] = _chosen(part, fields)
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
        if heads * length**2 > MAX_ATTENTION:
            raise ValueError(
                f"{where} attends over {length} {name} with {heads} heads, more than {MAX_ATTENTION} attention "
                "weights; choose a checkpoint with smaller images or larger patches"
            )


def _copy_tokenizer(folder: Path, root: Path, clean: Path) -> None:
    """Copy the checked files of a tokenizer."""
    settings = _source(folder, root, "tokenizer_config.json")
    found = read_json(settings, MIB)
    _refuse_code(settings, found)
    own = [key for key in found if key.endswith("token") and key not in TOKENIZER][:100]  # as image_token
    fields = {**TOKENIZER, **dict.fromkeys(own, token)}
    chosen = _chosen(found, fields)
    record(fields)(str(settings), chosen)
    _write(clean / "tokenizer_config.json", chosen)
    vocabulary = _source(folder, root, "tokenizer.json")
    content = read_json(vocabulary, MAX_VOCABULARY)
    _check_normalizer(vocabulary, content.get("normalizer"))
    optional(PADDING)(f"{vocabulary}: padding", content.get("padding"))
    _write(clean / "tokenizer.json", content)
    for name, check in VOCABULARY.items():
        file = file_inside(root, str(folder / name))
        if file.is_file():
            content = read_json(file, MAX_VOCABULARY)
            check(str(file), content)
            _write(clean / name, content)
    merges = file_inside(root, str(folder / MERGES))
    if merges.is_file():
        if merges.stat().st_size > MAX_VOCABULARY:
            raise ValueError(f"{merges} is larger than {MAX_VOCABULARY // MIB} MiB; copy that of a SmolVLM there")
        (clean / MERGES).write_bytes(merges.read_bytes())


def _check_normalizer(file: Path, normalizer: Any) -> None:
    """Admit normalizers whose output has a bounded length. Raises ValueError for any other."""
    if normalizer is None:
        return
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    if kind == "Sequence" and isinstance(normalizer.get("normalizers"), list):
        for inner in normalizer["normalizers"]:
            _check_normalizer(file, inner)
    elif kind not in NORMALIZERS:
        raise ValueError(
            f"{file} has the normalizer {str(kind)[:40]!r} but SmolVLA's tokenizers have none or one of "
            f"{', '.join(NORMALIZERS)}; copy the tokenizer of a SmolVLM there"
        )


def _source(folder: Path, root: Path, name: str) -> Path:
    """The path of a file that a backbone must have. Raises FileNotFoundError if it has not."""
    file = file_inside(root, str(folder / name))
    if not file.is_file():
        raise FileNotFoundError(f"{folder} lacks {name}; copy the configuration and tokenizer of a SmolVLM there")
    return file


def _refuse_code(file: Path, value: Any) -> None:
    """Raise ValueError where a configuration asks for code of its own, at any depth."""
    if isinstance(value, dict) and "auto_map" in value:
        raise ValueError(f"{file} has an auto_map, by which it asks to run code of its own; dsrl runs none: remove it")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_code(file, inner)


def _chosen(found: dict[str, Any], fields: dict[str, Check]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key in fields}


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
