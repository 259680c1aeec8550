"""The parts of the tokenizers that the backbones of robot policies were published with are admitted."""

from pathlib import Path
from typing import Any

import pytest

from dsrl.policy._tokenizer_parts import check_parts

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PROMPT = {"Sequence": {"id": "A", "type_id": 0}}


def split(pattern: dict[str, str], behavior: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": behavior == "Removed"}


def steps(*parts: dict[str, Any], key: str = "pretokenizers") -> dict[str, Any]:
    return {"type": "Sequence", key: list(parts)}


def around(*tokens: str) -> dict[str, Any]:
    named = [{"SpecialToken": {"id": token, "type_id": 0}} for token in tokens]
    return {
        "type": "TemplateProcessing",
        "single": [named[0], PROMPT, *named[1:]],
        "pair": [named[0], PROMPT, *named, PROMPT, *named[1:]],
        "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]} for i, token in enumerate(tokens)},
    }


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer", "post_processor"),
    [
        pytest.param(None, steps({"type": "Digits", "individual_digits": True}, BYTES), None, id="SmolVLM"),
        pytest.param(
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            split({"String": " "}, "MergedWithPrevious"),
            around("<bos>", "\n"),
            id="PaliGemma",
        ),
        pytest.param(
            {"type": "NFC"},
            steps(split({"Regex": r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"}, "Isolated"), BYTES),
            {**BYTES, "trim_offsets": False},
            id="Qwen",
        ),
        pytest.param(
            steps(
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                {"type": "Lowercase"},
                key="normalizers",
            ),
            steps(split({"Regex": r"'s|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}, "Removed"), BYTES),
            {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": False},
            id="CLIP",
        ),
        pytest.param(
            None,
            steps({"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}),
            steps(BYTES, around("<s>", "</s>"), key="processors"),
            id="Metaspace",
        ),
    ],
)
def test_the_parts_of_published_tokenizers_are_admitted(
    normalizer: Any, pre_tokenizer: Any, post_processor: Any
) -> None:
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor}
    check_parts(Path("tokenizer.json"), {**parts, "padding": None})
