"""The fields of a SmolVLM's configuration and tokenizer that `_smolvlm` copies, with their types and ranges."""

from __future__ import annotations

from typing import Any

from dsrl.schema import (
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

TOKENIZERS = (
    *("TokenizersBackend", "PreTrainedTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast"),
    *("GemmaTokenizer", "GemmaTokenizerFast", "CLIPTokenizer", "CLIPTokenizerFast"),
    *("Qwen2Tokenizer", "Qwen2TokenizerFast"),
)

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
TEXT: dict[str, Check] = {
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
VISION: dict[str, Check] = {
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
VLM: dict[str, Check] = {
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


def token(where: str, value: Any) -> None:
    """Check for a token: a string, or a string with flags."""
    (_ADDED if isinstance(value, dict) else _ANY_TOKEN)(where, value)


def _tokens(where: str, value: Any) -> None:
    """Check for a list of tokens, or for a mapping of names to tokens."""
    (mapping(_WORD, token, 1000) if isinstance(value, dict) else sequence(token, 0, 1000))(where, value)


def _token_or_tokens(where: str, value: Any) -> None:
    """Check for a token or a list of tokens."""
    (_tokens if isinstance(value, list) else token)(where, value)


TOKENIZER: dict[str, Check] = {
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
    "processor_class": choice("SmolVLMProcessor", "PaliGemmaProcessor", "CLIPProcessor", "Qwen2_5_VLProcessor"),
    "split_special_tokens": flag,
    "tokenizer_class": choice(*TOKENIZERS),
    "truncation_side": choice("left", "right"),
}
VOCABULARY: dict[str, Check] = {  # of the tokenizer's other files
    "special_tokens_map.json": mapping(_WORD, _token_or_tokens, 200),
    "added_tokens.json": mapping(_WORD, _TOKEN_ID, 10000),
    "vocab.json": mapping(text(longest=1000), _TOKEN_ID, 10**6),
}
_IMAGES = {"do_resize": False, "image_processor_type": "SmolVLMImageProcessor"}  # SmolVLA prepares its images itself
_VIDEOS = {"do_resize": False, "video_processor_type": "SmolVLMVideoProcessor"}
PROCESSOR = {"processor_class": "SmolVLMProcessor", "image_processor": _IMAGES, "video_processor": _VIDEOS}
