"""Writes the backbone of a small SmolVLA: configuration, tokenizer and processor of a SmolVLM, without weights.

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
    vocabulary: Sequence[str],
    hidden_size: int,
    head_dim: int,
    num_layers: int,
    image_size: int,
    patch_size: int,
    vision_hidden_size: int,
    vision_layers: int,
    scale_factor: int,
) -> Path:
    """Write the folder that `vlm_model_name` may name and return it.

    Args:
        folder: created if missing.
        vocabulary: lower-case words that instructions use; any other word becomes `<unk>`.
        hidden_size: width of the language model, a multiple of `head_dim`; MLPs are four times as wide.
        head_dim: width of one attention head, in the language model and in the vision tower.
        num_layers: layers of the language model.
        image_size: side of the square image in pixels; a multiple of `patch_size * scale_factor`.
        patch_size: side of one image patch in pixels.
        vision_hidden_size: width of the vision tower, a multiple of `head_dim`.
        vision_layers: layers of the vision tower.
        scale_factor: side of the block of patches that becomes one image token (pixel shuffle).

    Raises:
        ValueError: if the sizes do not divide each other.
    """
    from transformers import SmolVLMConfig

    if hidden_size % head_dim or vision_hidden_size % head_dim:
        raise ValueError(
            f"head_dim={head_dim} must divide hidden_size={hidden_size} and vision_hidden_size={vision_hidden_size}"
        )
    if image_size % (patch_size * scale_factor):
        raise ValueError(
            f"image_size={image_size} must be a multiple of patch_size*scale_factor={patch_size}*{scale_factor}"
        )
    folder = Path(folder)
    image_tokens = (image_size // patch_size // scale_factor) ** 2
    processor = _processor(vocabulary, image_size, image_tokens)
    processor.save_pretrained(folder)
    tokenizer = processor.tokenizer
    heads = hidden_size // head_dim
    SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "hidden_size": hidden_size,
            "intermediate_size": 4 * hidden_size,
            "num_hidden_layers": num_layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": head_dim,
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": vision_hidden_size,
            "intermediate_size": 4 * vision_hidden_size,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": vision_hidden_size // head_dim,
            "image_size": image_size,
            "patch_size": patch_size,
        },
        scale_factor=scale_factor,
        image_token_id=tokenizer.image_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    return folder


def _processor(vocabulary: Sequence[str], image_size: int, image_tokens: int) -> Any:
    """SmolVLMProcessor around a word-level tokenizer; SmolVLA uses its tokenizer's special tokens only."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

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
        image_seq_len=image_tokens,
        chat_template="{{ messages }}",
    )
