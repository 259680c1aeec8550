"""The backbone of a SmolVLA: its sizes and its tokenizer, copied for transformers without anything that names code.

    vlm/config.json            --fields of the tables below--> config.json
    vlm/tokenizer_config.json  --fields of the tables below--> tokenizer_config.json    private temporary folder
    vlm/tokenizer.json, …      --size and kinds of parts-----> the same file
                                                 constant ---> processor_config.json

transformers reads from the private folder alone. Whatever else a backbone's folder has (processors, chat templates,
Python files, pickles) is never opened: SmolVLA uses none of it. A key that the tables do not have is left out, except
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
from dsrl.policy._schema import (
    Check,
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

MAX_PATCHES = 4096  # of one image; SmolVLA has 1024
MAX_PREFIX = 4096  # tokens of images, instruction and state; SmolVLA has 64 an image
MERGES = "merges.txt"
MAX_VOCABULARY = 16 * MIB  # of one file; SmolVLM's have 3.5 MiB
TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast")

_WIDTH = integer(1, 16384)
_LAYERS = integer(1, 128)
_HEADS = integer(1, 256)
_TOKEN_ID = integer(0, 10**6)
_EPSILON = number(1e-12, 1)
_SHARE = number(0, 1)
_ACTIVATION = choice("silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu")
_FLOAT = optional(choice("float32", "float16", "bfloat16", "auto"))
_NO_ROPE_SCALING = record({"rope_type": constant("default"), "rope_theta": number(1, 1e9)})  # lerobot applies its own
_FLOATS: dict[str, Check] = {"dtype": _FLOAT, "torch_dtype": _FLOAT}
_TEXT: dict[str, Check] = {
    **_FLOATS,
    "model_type": constant("llama"),
    "vocab_size": integer(1, 10**6),
    "hidden_size": _WIDTH,
    "intermediate_size": integer(1, 65536),
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": optional(_HEADS),
    "head_dim": optional(integer(2, 1024)),
    "hidden_act": _ACTIVATION,
    "max_position_embeddings": integer(1, 10**7),
    "initializer_range": _SHARE,
    "rms_norm_eps": _EPSILON,
    "use_cache": flag,
    "pad_token_id": optional(_TOKEN_ID),
    "bos_token_id": optional(_TOKEN_ID),
    "eos_token_id": optional(_TOKEN_ID),
    "pretraining_tp": optional(integer(1, 64)),
    "tie_word_embeddings": flag,
    "rope_parameters": optional(_NO_ROPE_SCALING),
    "rope_theta": number(1, 1e9),
    "rope_scaling": optional(_NO_ROPE_SCALING),
    "attention_bias": flag,
    "attention_dropout": _SHARE,
    "mlp_bias": flag,
}
_VISION: dict[str, Check] = {
    **_FLOATS,
    "model_type": choice("smolvlm_vision", "idefics3_vision"),
    "hidden_size": _WIDTH,
    "intermediate_size": integer(1, 65536),
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_channels": constant(3),
    "image_size": integer(1, 2048),
    "patch_size": integer(1, 512),
    "hidden_act": _ACTIVATION,
    "layer_norm_eps": _EPSILON,
    "attention_dropout": _SHARE,
    "initializer_range": _SHARE,
}
_VLM: dict[str, Check] = {
    **_FLOATS,
    "model_type": constant("smolvlm"),
    "image_token_id": _TOKEN_ID,
    "pad_token_id": optional(_TOKEN_ID),
    "scale_factor": integer(1, 64),
    "tie_word_embeddings": flag,
    "use_cache": flag,
}
_WORD = text(longest=200)
_ANY_TOKEN = optional(text(longest=200))
_ADDED = record(
    {
        "__type": constant("AddedToken"),
        "content": _WORD,
        "single_word": flag,
        "lstrip": flag,
        "rstrip": flag,
        "normalized": flag,
        "special": flag,
    }
)


def _token(where: str, value: Any) -> None:
    """Checks for a token: a string, or a string with flags."""
    (_ADDED if isinstance(value, dict) else _ANY_TOKEN)(where, value)


def _tokens(where: str, value: Any) -> None:
    """Checks for a list of tokens, or for a mapping of names to tokens."""
    (mapping(_WORD, _token, 1000) if isinstance(value, dict) else sequence(_token, 0, 1000))(where, value)


def _token_or_tokens(where: str, value: Any) -> None:
    """Checks for a token or a list of tokens."""
    (_tokens if isinstance(value, list) else _token)(where, value)


_TOKENIZER: dict[str, Check] = {
    "add_bos_token": flag,
    "add_eos_token": flag,
    "add_prefix_space": flag,
    "added_tokens_decoder": mapping(text(r"\d{1,7}", meaning="a token's number"), _ADDED, 10000),
    "additional_special_tokens": _tokens,
    "backend": choice("tokenizers"),
    "clean_up_tokenization_spaces": flag,
    "errors": choice("replace", "strict", "ignore"),
    "extra_special_tokens": _tokens,
    "legacy": flag,
    "model_max_length": number(1, 1e31),
    "padding_side": choice("left", "right"),
    "processor_class": constant("SmolVLMProcessor"),
    "split_special_tokens": flag,
    "tokenizer_class": choice(*TOKENIZERS),
    "truncation_side": choice("left", "right"),
}
_VOCABULARY: dict[str, Check] = {  # of the tokenizer's other files
    "special_tokens_map.json": lambda where, value: mapping(_WORD, _token_or_tokens, 200)(where, value),
    "added_tokens.json": mapping(_WORD, _TOKEN_ID, 10000),
    "vocab.json": mapping(text(longest=1000), _TOKEN_ID, 10**6),
}
_PADDING = record(
    {
        "strategy": lambda where, value: (
            None if value == "BatchLongest" else record({"Fixed": integer(1, 4096)})(where, value)
        ),
        "direction": choice("Left", "Right"),
        "pad_to_multiple_of": optional(integer(1, 64)),
        "pad_id": _TOKEN_ID,
        "pad_type_id": _TOKEN_ID,
        "pad_token": _WORD,
    }
)
_NORMALIZERS = ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Strip", "StripAccents")  # none makes a text much longer
_IMAGES = {"do_resize": False, "image_processor_type": "SmolVLMImageProcessor"}  # SmolVLA prepares its images itself
_VIDEOS = {"do_resize": False, "video_processor_type": "SmolVLMVideoProcessor"}
_PROCESSOR = {"processor_class": "SmolVLMProcessor", "image_processor": _IMAGES, "video_processor": _VIDEOS}


@contextlib.contextmanager
def clean_backbone(folder: Path, root: Path) -> Iterator[Path]:
    """Yields a private folder with the checked configuration and tokenizer of `folder`, which lies in `root`.

    Raises:
        FileNotFoundError: if the tokenizer is missing.
        ValueError: if a file is not what a SmolVLM has, leads out of `root`, or names code.
    """
    config = read_backbone(folder, root)
    with tempfile.TemporaryDirectory(prefix="dsrl_backbone_") as name:
        clean = Path(name)
        _write(clean / "config.json", config)
        _write(clean / "processor_config.json", _PROCESSOR)
        _copy_tokenizer(folder, root, clean)
        yield clean


def read_backbone(folder: Path, root: Path) -> dict[str, Any]:
    """Reads the sizes of a SmolVLM from its config.json. Raises ValueError for another model or for other values."""
    file = _source(folder, root, "config.json")
    found = read_json(file)
    _refuse_code(file, found)
    parts = {"text_config": _TEXT, "vision_config": _VISION}
    config = _chosen(found, _VLM)
    record(_VLM, required=("model_type",))(str(file), config)
    for name, fields in parts.items():
        part = found.get(name)
        if not isinstance(part, dict):
            raise ValueError(f"{file} has no {name}; copy the config.json of a SmolVLM there")
        config[name] = _chosen(part, fields)
        record(fields)(f"{file}: {name}", config[name])
    return config


def check_lengths(config: dict[str, Any], policy: Any, where: Path) -> None:
    """Bounds the patches of an image and the tokens of a decision, which attention takes the square of.

    `config` is that of `read_backbone`, `policy` a SmolVLAConfig. Raises ValueError.
    """
    height, width = policy.resize_imgs_with_padding
    patch = config["vision_config"].get("patch_size", 32)
    patches = -(-height // patch) * -(-width // patch)
    images = len(policy.image_features) + policy.empty_cameras
    tokens = images * (patches // config.get("scale_factor", 2) ** 2 + 2) + policy.tokenizer_max_length
    if patches > MAX_PATCHES or tokens > MAX_PREFIX:
        raise ValueError(
            f"{where} makes {patches} patches of an image and {tokens} tokens of a decision but dsrl runs at most "
            f"{MAX_PATCHES} and {MAX_PREFIX}; choose a checkpoint with smaller images or larger patches"
        )


def _copy_tokenizer(folder: Path, root: Path, clean: Path) -> None:
    """Copies the checked files of a tokenizer."""
    settings = _source(folder, root, "tokenizer_config.json")
    found = read_json(settings, MIB)
    _refuse_code(settings, found)
    own = [key for key in found if key.endswith("_token") and key not in _TOKENIZER][:100]  # as image_token
    fields = {**_TOKENIZER, **dict.fromkeys(own, _token)}
    chosen = _chosen(found, fields)
    record(fields)(str(settings), chosen)
    _write(clean / "tokenizer_config.json", chosen)
    vocabulary = _source(folder, root, "tokenizer.json")
    content = read_json(vocabulary, MAX_VOCABULARY)
    _check_normalizer(vocabulary, content.get("normalizer"))
    optional(_PADDING)(f"{vocabulary}: padding", content.get("padding"))
    _write(clean / "tokenizer.json", content)
    for name, check in _VOCABULARY.items():
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
    """Admits normalizers whose output has a bounded length. Raises ValueError for any other."""
    if normalizer is None:
        return
    kind = normalizer.get("type") if isinstance(normalizer, dict) else None
    if kind == "Sequence" and isinstance(normalizer.get("normalizers"), list):
        for inner in normalizer["normalizers"]:
            _check_normalizer(file, inner)
    elif kind not in _NORMALIZERS:
        raise ValueError(
            f"{file} has the normalizer {str(kind)[:40]!r} but SmolVLA's tokenizers have none or one of "
            f"{', '.join(_NORMALIZERS)}; copy the tokenizer of a SmolVLM there"
        )


def _source(folder: Path, root: Path, name: str) -> Path:
    """The path of a file that a backbone must have. Raises FileNotFoundError if it has not."""
    file = file_inside(root, str(folder / name))
    if not file.is_file():
        raise FileNotFoundError(f"{folder} lacks {name}; copy the configuration and tokenizer of a SmolVLM there")
    return file


def _refuse_code(file: Path, value: Any) -> None:
    """Raises ValueError where a configuration asks for code of its own, at any depth."""
    if isinstance(value, dict) and "auto_map" in value:
        raise ValueError(f"{file} has an auto_map, by which it asks to run code of its own; dsrl runs none: remove it")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_code(file, inner)


def _chosen(found: dict[str, Any], fields: dict[str, Check]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key in fields}


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
