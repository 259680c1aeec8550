"""Checks of the parts of a tokenizer.json that could make gigabytes of a short prompt.

prompt -> normalizer -> pre-tokenizer -> vocabulary -> post-processor, which adds tokens -> padding
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsrl.schema import (
    anything,
    choice,
    constant,
    integer,
    mapping,
    optional,
    record,
    sequence,
    text,
)

NORMALIZERS = ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Strip", "StripAccents")  # whose output has a bounded length
REPLACEMENTS = (  # as in the tokenizers of Gemma and of CLIP: no text grows by them
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
)
PRE_TOKENIZERS = (  # that split a text, or make of it at most the bytes of its UTF-8 and a blank for each word
    *("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "UnicodeScripts"),
    *("Whitespace", "WhitespaceSplit"),
)
POST_PROCESSORS = ("BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing")
PARTS = {  # part -> its key in a Sequence, kinds, the most in a Sequence: each may repeat the growth of that before it
    "normalizer": ("normalizers", NORMALIZERS, 16),
    "pre_tokenizer": ("pretokenizers", PRE_TOKENIZERS, 3),  # two in those of SmolVLM, CLIP and Qwen
    "post_processor": ("processors", POST_PROCESSORS, 2),
}
_WORD = text(longest=200)
_TOKEN_ID = integer(0, 10**6)


def _strategy(where: str, value: Any) -> None:
    """Check for a padding strategy of a bounded length."""
    if value != "BatchLongest":
        record({"Fixed": integer(1, 4096)})(where, value)


PADDING = record(
    {
        "strategy": _strategy,
        "direction": choice("Left", "Right"),
        "pad_to_multiple_of": optional(integer(1, 64)),
        "pad_id": _TOKEN_ID,
        "pad_type_id": _TOKEN_ID,
        "pad_token": _WORD,
    }
)
_PIECES = sequence(anything, 0, 8)  # the prompt is one, and so is each token around it
TEMPLATE = record(
    {
        "type": constant("TemplateProcessing"),
        "single": _PIECES,
        "pair": _PIECES,
        "special_tokens": mapping(
            _WORD,
            record({"id": _WORD, "ids": sequence(_TOKEN_ID, 0, 8), "tokens": sequence(_WORD, 0, 8)}),
            100,
        ),
    }
)


def check_parts(file: Path, content: dict[str, Any]) -> None:
    """Admit the parts of a tokenizer.json whose output is bounded by its input. Raises ValueError for any other."""
    for part, (key, kinds, most) in PARTS.items():
        steps = _steps(content.get(part), key)
        if len(steps) > most:
            raise ValueError(
                f"{file} has {len(steps)} steps in its {part} but tokenizers of robot policies have at most {most}; "
                "copy the tokenizer that the policy was trained with"
            )
        for step in steps:
            _check_step(file, part, step, kinds)
    optional(PADDING)(f"{file}: padding", content.get("padding"))


def _steps(part: Any, key: str) -> list[Any]:
    """Return the steps of a part, in their order: those of a Sequence, its only one, or none."""
    if isinstance(part, dict) and part.get("type") == "Sequence" and isinstance(part.get(key), list):
        return [step for inner in part[key] for step in _steps(inner, key)]
    return [] if part is None else [part]


def _check_step(file: Path, part: str, step: Any, kinds: tuple[str, ...]) -> None:
    kind = step.get("type") if isinstance(step, dict) else None
    if kind not in kinds and step not in REPLACEMENTS:
        raise ValueError(
            f"{file} has the {part} {str(kind)[:40]!r} but the tokenizers of robot policies have none or one of "
            f"{', '.join(kinds)}; copy the tokenizer that the policy was trained with"
        )
    if kind == "TemplateProcessing":
        TEMPLATE(f"{file}: {part}", step)
