"""Writes the backbone of a SmolVLA of any size: configuration, tokenizer and processor of a SmolVLM, no weights.

SmolVLA reads its backbone's configuration, tokenizer and processor from the folder (or hub id) that `vlm_model_name`
names. This module writes such a folder: `config.json`, a word-level tokenizer and a processor; no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNKNOWN, PADDING, NEWLINE = "<unk>", "<pad>", "\n"
IMAGE_TOKENS = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
WORDS = r"\w+|[^\w\s]|\n"  # words, punctuation marks, and the newline that SmolVLA appends to every instruction


def write_tiny_vlm(
    folder: str | Path,
    *,
    vocabulary: Sequence[str],  # lower-case words of instructions; any other word becomes `<unk>`
    hidden_size: int,  # width of the language model, a multiple of `head_dim`; MLPs are four times as wide
    head_dim: int,  # width of one attention head, in the language model and in the vision tower
    num_layers: int,  # layers of the language model
    image_size: int,  # side of the square image in pixels, a multiple of `patch_size * scale_factor`
    patch_size: int,  # side of one image patch in pixels
    vision_hidden_size: int,  # width of the vision tower, a multiple of `head_dim`
    vision_layers: int,  # layers of the vision tower
    scale_factor: int,  # side of the block of patches that becomes one image token (pixel shuffle)
    mlp_size: int | None = None,  # width of the MLPs of the language model; None: four times `hidden_size`
    key_value_heads: int | None = None,  # of the language model, a divisor of its heads; None: as many as heads
    vocab_size: int | None = None,  # tokens of the language model; None: as many as the tokenizer has
    vision_mlp_size: int | None = None,  # width of the MLPs of the vision tower; None: four times `vision_hidden_size`
) -> Path:
    """Write the backbone to `folder`, which is created if missing, and return it.

    Raises:
        ValueError: if the sizes do not divide each other.
    """
    from transformers import SmolVLMConfig

    _check_division(hidden_size, vision_hidden_size, head_dim, key_value_heads)
    processor = _processor(vocabulary, image_size, patch_size, scale_factor)
    processor.save_pretrained(folder)
    tokens, heads = processor.tokenizer, hidden_size // head_dim
    if vocab_size is not None and vocab_size < len(tokens):
        raise ValueError(f"vocab_size={vocab_size} but the tokenizer has {len(tokens)} tokens; type at least that many")
    text = _transformer(hidden_size, num_layers, heads, mlp_size)
    vision = _transformer(vision_hidden_size, vision_layers, vision_hidden_size // head_dim, vision_mlp_size)
    text |= {"num_key_value_heads": key_value_heads or heads, "head_dim": head_dim}
    SmolVLMConfig(
        text_config={"model_type": "llama", **text, "vocab_size": vocab_size or len(tokens),
                     "pad_token_id": tokens.pad_token_id},
        vision_config={**vision, "image_size": image_size, "patch_size": patch_size},
        scale_factor=scale_factor, image_token_id=tokens.image_token_id, pad_token_id=tokens.pad_token_id,
    ).save_pretrained(folder)  # fmt: skip
    return Path(folder)


def _check_division(hidden_size: int, vision_hidden_size: int, head_dim: int, key_value_heads: int | None) -> None:
    """Raise ValueError where the sizes do not divide each other."""
    if hidden_size % head_dim or vision_hidden_size % head_dim:
        raise ValueError(
            f"head_dim={head_dim} must divide hidden_size={hidden_size} and vision_hidden_size={vision_hidden_size}"
        )
    heads = hidden_size // head_dim
    if heads % (key_value_heads or heads):
        raise ValueError(f"key_value_heads={key_value_heads} must divide the {heads} heads of hidden_size/head_dim")


def _transformer(hidden_size: int, num_layers: int, num_heads: int, mlp_size: int | None) -> dict[str, int]:
    """The sizes that both towers have."""
    return {
        "hidden_size": hidden_size,
        "intermediate_size": mlp_size or 4 * hidden_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
    }


def _processor(vocabulary: Sequence[str], image_size: int, patch_size: int, scale_factor: int) -> Any:
    """Build a SmolVLMProcessor with a word-level tokenizer, of which SmolVLA uses the special tokens alone."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    if image_size % (patch_size * scale_factor):
        raise ValueError(
            f"image_size={image_size} must be a multiple of patch_size*scale_factor={patch_size}*{scale_factor}"
        )
    entries = dict.fromkeys([UNKNOWN, PADDING, *IMAGE_TOKENS.values(), NEWLINE, *(w.lower() for w in vocabulary)])
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(entries)}, unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token=UNKNOWN, pad_token=PADDING, extra_special_tokens=IMAGE_TOKENS
    )
    size = {"longest_edge": image_size}
    return SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(size=size, max_image_size=size),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(size=size, max_image_size=size),
        image_seq_len=(image_size // patch_size // scale_factor) ** 2,
        chat_template="{{ messages }}",
    )
