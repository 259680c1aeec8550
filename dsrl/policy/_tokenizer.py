"""The tokenizer of a policy, copied for transformers without anything that names code.

    tokenizer_config.json  --fields of `_smolvlm_fields`--> tokenizer_config.json    private temporary folder
    tokenizer.json, …      --size and kinds of parts------> the same file

transformers reads from the private folder alone. A key that the tables do not have is left out, except `auto_map`, by
which a folder asks for its own code: that is refused.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from dsrl.policy._checkpoint_files import MIB, file_inside, read_json
from dsrl.policy._smolvlm_fields import TOKENIZER, VOCABULARY, token
from dsrl.policy._tokenizer_parts import check_parts
from dsrl.schema import Check, record

MERGES = "merges.txt"
MAX_VOCABULARY = 64 * MIB  # of one file; PaliGemma's have 17 MiB


@contextlib.contextmanager
def clean_tokenizer(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a private folder with the checked tokenizer of `folder`, which lies in `root`.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if a file is not what a tokenizer has, leads out of `root`, or names code.
    """
    with tempfile.TemporaryDirectory(prefix="dsrl_tokenizer_") as name:
        copy_tokenizer(folder, root, Path(name), MAX_VOCABULARY)
        yield Path(name)


def copy_tokenizer(folder: Path, root: Path, clean: Path, limit: int) -> None:
    """Copy the checked files of a tokenizer, each of at most `limit` bytes."""
    settings = source(folder, root, "tokenizer_config.json")
    found = read_json(settings, MIB)
    refuse_code(settings, found)
    own = [key for key in found if key.endswith("token") and key not in TOKENIZER][:100]  # as image_token
    fields = {**TOKENIZER, **dict.fromkeys(own, token)}
    picked = chosen(found, fields)
    record(fields)(str(settings), picked)
    write(clean / "tokenizer_config.json", picked)
    vocabulary = source(folder, root, "tokenizer.json")
    content = read_json(vocabulary, limit)
    check_parts(vocabulary, content)
    write(clean / "tokenizer.json", content)
    for name, check in VOCABULARY.items():
        file = file_inside(root, str(folder / name))
        if file.is_file():
            content = read_json(file, limit)
            check(str(file), content)
            write(clean / name, content)
    merges = file_inside(root, str(folder / MERGES))
    if merges.is_file():
        if merges.stat().st_size > limit:
            raise ValueError(
                f"{merges} is larger than {limit // MIB} MiB; copy the one that the policy was trained with"
            )
        (clean / MERGES).write_bytes(merges.read_bytes())


def source(folder: Path, root: Path, name: str) -> Path:
    """The path of a file that a backbone must have. Raises FileNotFoundError if it has not."""
    file = file_inside(root, str(folder / name))
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} lacks {name}; copy the configuration and tokenizer that the policy was trained with"
        )
    return file


def refuse_code(file: Path, value: Any) -> None:
    """Raise ValueError where a configuration asks for code of its own, at any depth."""
    if isinstance(value, dict) and "auto_map" in value:
        raise ValueError(f"{file} has an auto_map, by which it asks to run code of its own; dsrl runs none: remove it")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            refuse_code(file, inner)


def chosen(found: dict[str, Any], fields: dict[str, Check]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key in fields}


def write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def check_tokens(tokens: Tensor, known: int) -> None:
    """Raise ValueError for the tokens [B, L] of a prompt where a backbone has embeddings of `known` tokens only."""
    largest = int(tokens.max()) if tokens.numel() else 0
    if largest >= known:
        raise ValueError(
            f"the checkpoint has a tokenizer with the token {largest} but a backbone of {known} tokens; copy the "
            "tokenizer that it was trained with"
        )
