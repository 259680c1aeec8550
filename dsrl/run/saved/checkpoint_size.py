"""Compares the files of a checkpoint with what may be read, before their digests are computed.

Few bytes on the disk can be a sparse file of terabytes, whose digest takes hours.
"""

from __future__ import annotations

from pathlib import Path

from dsrl.available_memory import available_memory
from dsrl.run.saved.files import MIB, check_length


class MemoryShortError(ValueError):
    """The weights take more memory than is free; they may be whole."""


def check_size(path: Path, largest: int) -> None:
    """Raise ValueError for JSON of more than `largest` bytes, MemoryShortError for weights larger than free memory."""
    if path.suffix == ".json":
        try:
            check_length(path, largest)
        except ValueError as error:
            raise ValueError(f"{error}; use another checkpoint") from error
        return
    size, free = path.stat().st_size, available_memory()
    if size > free:
        raise MemoryShortError(
            f"{path} has {size / MIB:.0f} MiB but {free / MIB:.0f} MiB are free; use another checkpoint"
        )
