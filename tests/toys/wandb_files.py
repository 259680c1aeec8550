"""Reads the files that wandb writes offline: LevelDB's log format, blocks of 32 KiB, around wandb's own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def records(path: Path) -> Iterator[Any]:
    """Yield the messages in a file."""
    from wandb.proto import wandb_internal_pb2

    content, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too little of the block is left for a header
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        piece = content[at + 7 : at + 7 + length]
        message = piece if kind in (1, 2) else message + piece  # whole, first | middle, last
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(message)


def history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the points of all curves."""
    for record in records(path):
        if record.HasField("history"):
            yield _values(record.history.item)


def run_of(path: Path) -> Any:
    """Return the message that describes the run: `display_name`, `run_group`, `tags`, `job_type`."""
    (run,) = (record.run for record in records(path) if record.HasField("run"))
    return run


def config_of(path: Path) -> dict[str, Any]:
    """Return the config of the run."""
    return {item.key: json.loads(item.value_json) for item in run_of(path).config.update}


def summary_of(path: Path) -> dict[str, Any]:
    """Return the values of the run's summary that were set."""
    found: dict[str, Any] = {}
    for record in records(path):
        if record.HasField("summary"):
            found |= _values(record.summary.update)
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
