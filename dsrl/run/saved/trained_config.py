"""Notes beside weights which config they were trained with, so that no other one builds their algorithm.

While an extension replaces the config, its weights belong to the old one and to the new one: a kill at any time leaves
a pair that can be evaluated.

config of the run:   old                      new
weights:             old   ->   [old, new]         ->   new
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dsrl.run.saved.checkpoint import add_notes, read_manifest
from dsrl.run.saved.checkpoint_names import MANIFEST

NOTE = "config_sha256"


def trained_with(checkpoint: Path) -> list[Any]:
    """Return the digests of the configs that a checkpoint belongs to, none of one before they were noted.

    Raises ValueError for a damaged one.
    """
    noted = read_manifest(checkpoint)["notes"].get(NOTE)
    return noted if isinstance(noted, list) else [] if noted is None else [noted]


@contextmanager
def replacing_config(checkpoints: Sequence[Path], old: str | None, new: str) -> Iterator[None]:
    """Let the checkpoints of the config `old` belong to `new` as well while the block writes it, and alone after it.

    Both are digests; `old` is None before the run has a config.
    """
    own = [one for one in checkpoints if old is not None and _belongs(one, old)]
    for one in own:
        add_notes(one, {NOTE: [old, new]})
    yield
    for one in own:
        add_notes(one, {NOTE: new})


def _belongs(checkpoint: Path, digest: str) -> bool:
    with suppress(ValueError):  # a damaged one is written again when the run continues
        return (checkpoint / MANIFEST).is_file() and digest in trained_with(checkpoint)
    return False
