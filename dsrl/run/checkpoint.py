"""The latest checkpoints of a run, each a folder that is whole or absent.

resume/000001000/   tensors.safetensors   structure.json   manifest.json        1000 decisions had been taken
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from dsrl.run.files import Tree, read_tree, sync_folder, write_tree

_UNFINISHED = ".unfinished"


class Checkpoints:
    """Numbered checkpoints in one folder, of which the newest are kept."""

    def __init__(self, folder: Path, keep: int) -> None:
        """`keep` is how many stay; the second newest is there for the day on which the newest is damaged."""
        self.folder, self.keep = folder, keep

    def save(self, number: int, tree: Tree) -> None:
        """Add checkpoint `number`, or replace it. Raises OSError, and leaves all others whole, where that fails."""
        unfinished = self.folder / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed while it wrote
        try:
            unfinished.mkdir(parents=True)
            write_tree(unfinished, tree)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        target = self.folder / f"{number:09d}"
        if target.exists():  # damaged, or written by a run that went further than the one that is continued
            shutil.rmtree(target)
        os.rename(unfinished, target)
        sync_folder(self.folder)
        for stale in self._numbered()[self.keep :]:
            shutil.rmtree(stale)

    def newest(self, warn: Callable[[str], None]) -> Tree | None:
        """The newest checkpoint that is whole, None without any; `warn` is told of each one that is passed over."""
        for folder in self._numbered():
            try:
                return read_tree(folder)
            except ValueError as error:
                warn(f"{error}; trying the checkpoint before it")
        return None

    def drop_after(self, number: int) -> None:
        """Remove checkpoints beyond `number`: they are damaged, or of a course that is not taken again."""
        for folder in self._numbered():
            if int(folder.name) > number:
                shutil.rmtree(folder)

    def _numbered(self) -> list[Path]:
        """Newest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name), reverse=True)
