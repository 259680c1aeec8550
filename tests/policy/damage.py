"""Ways in which a JSON or a safetensors file can be damaged, nonsensical or huge."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

HUGE = 10**9
DAMAGED_JSON: dict[str, bytes] = {
    "empty": b"",
    "no_json": b"hidden: 3",
    "a_list": b"[]",
    "null": b"null",
    "cut": b'{"type": "smolvla", "chunk',
    "not_utf8": b'{"type": "\xff\xfe"}',
    "byte_order_mark": b"\xef\xbb\xbf{}",
    "zeros": b"\0" * 4096,
    "deep_lists": b"[" * 200_000,
    "deep_mappings": b'{"a":' * 200_000,
    "deep_and_whole": b'{"type": ' + b"[" * 40 + b"]" * 40 + b"}",
    "nan": b'{"type": NaN}',
    "infinity": b'{"type": -Infinity}',
    "overflow": b'{"type": 1e999}',
    "digits": b'{"type": ' + b"9" * 5000 + b"}",
    "twice": b'{"type": "smolvla", "type": "pi0"}',
    "large": b'{"type": "' + b"a" * (17 << 20) + b'"}',
}


def header(file: Path, content: bytes, length: int | None = None) -> None:
    file.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content)


def lie(file: Path, **changes: Any) -> None:
    """Rewrite the header's entry of the first tensor."""
    content = file.read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    described = json.loads(content[8:end])
    next(value for key, value in described.items() if key != "__metadata__").update(changes)
    header(file, json.dumps(described).encode())
    file.write_bytes(file.read_bytes() + content[end:])


def tensors(change: Callable[[dict[str, torch.Tensor], str], Any]) -> Callable[[Path], None]:
    """Rewrite the tensors of a file; `change` gets them and the name of the first."""

    def rewrite(file: Path) -> None:
        stored = load_file(file)
        change(stored, next(iter(stored)))
        save_file(stored, file)

    return rewrite


STORED: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "cut_in_the_header": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0" * 64),
    "endless_header": lambda file: header(file, b"{}", 2**63),
    "large_header": lambda file: header(file, b" " * (9 << 20)),
    "no_json": lambda file: header(file, b"planted"),
    "deep": lambda file: header(file, b"[" * 100_000),
    "a_list": lambda file: header(file, b"[]"),
    "nothing": lambda file: header(file, b"{}"),
    "other_type": lambda file: lie(file, dtype="PLANTED"),
    "huge_shape": lambda file: lie(file, shape=[HUGE, HUGE]),
    "endless_shape": lambda file: lie(file, shape=[2**63, 4]),
    "negative_shape": lambda file: lie(file, shape=[-1]),
    "offsets": lambda file: lie(file, data_offsets=[0, 2**62]),
    "backwards": lambda file: lie(file, data_offsets=[64, 0]),
    "integers": tensors(lambda stored, name: stored.update({name: stored[name].long()})),
    "shape": tensors(
        lambda stored, _: stored.update({key: one.reshape(1, -1)[:, :3].contiguous() for key, one in stored.items()})
    ),
    "missing": tensors(lambda stored, _: stored.clear()),
    "nan": tensors(lambda stored, _: [one.fill_(torch.nan) for one in stored.values()]),
    "left_over": tensors(lambda stored, _: stored.update({"line\nbreak": torch.zeros(1)})),
    "a_folder": lambda file: (file.unlink(), file.mkdir()),
    "sparse": lambda file: os.truncate(file, 1 << 43),
}
