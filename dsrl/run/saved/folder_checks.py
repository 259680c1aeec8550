"""Checks a run folder, which may come from anybody, before anything in it is read or written.

a link that leads out | a pipe, socket or device | a folder in place of a file, or the reverse  ->  one sentence
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsrl.run.saved.checkpoint_names import is_own
from dsrl.run.saved.files import completed_name

FILES = (
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    ".lock",
    "base.json",
    "base_vs_steered.mp4",
    "environment.json",
    "eval.json",
    "failure.txt",
    "learning_curve.png",
    "metrics.csv",
    "metrics.csv.partial",
    "metrics.jsonl",
    "metrics.jsonl.partial",
    "summary.json",
    "train.log",
    "wandb_run_id.txt",
    "checkpoints/config.yaml",
    "checkpoints/best/manifest.json",
    "checkpoints/last/manifest.json",
)
FOLDERS = (
    ".hydra",
    "checkpoints",
    "checkpoints/best",
    "checkpoints/last",
    "eval",
    "resume",
    "tensorboard",
    "videos",
    "wandb",
)
WRITTEN_INTO = (".lock", "metrics.csv", "metrics.jsonl", "train.log")
"""Files that a run changes in place; all others it replaces."""
LEFT_BY_A_REFUSAL = (".lock", "failure.txt", "wandb", "wandb_run_id.txt")
"""Entries that a run leaves which was refused or killed before its config was written; its folder can be used again."""


WANDB = "wandb"


def check_entries(folder: Path) -> None:
    """Raise ValueError for an entry through which a run would read or write elsewhere, or wait for ever."""
    for entry in _entries(folder):
        mode = entry.lstat().st_mode
        if stat.S_ISLNK(mode):
            _check_link(entry, folder)
        elif not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise ValueError(f"{entry} is neither a file nor a folder; remove it")
        if entry.is_dir() and is_own(entry.name) and entry.parent.parent in (folder / "checkpoints", folder / "resume"):
            raise ValueError(f"{entry} is a folder where a checkpoint has a file; remove it")
    for name in FILES:
        if (folder / name).is_dir():
            raise ValueError(f"{folder / name} is a folder where a run has a file; remove it")
    for name in FOLDERS:
        if (folder / name).exists() and not (folder / name).is_dir():
            raise ValueError(f"{folder / name} is a file where a run has a folder; remove it")


def check_hard_links(folder: Path, names: Sequence[str] = WRITTEN_INTO) -> None:
    """Raise ValueError for a file with a name elsewhere, too, which a run (a sweep: `names`) would write into."""
    for name in names:
        path = folder / name
        if path.is_file() and path.stat().st_nlink > 1:
            raise ValueError(f"{path} is a hard link: its content has another name elsewhere; put a copy in its place")


def foreign_entry(folder: Path) -> str | None:
    """Return the name of an entry that no run leaves before it writes its config; None without any."""
    for path in sorted(folder.iterdir()):
        if (completed_name(path.name) or path.name) not in LEFT_BY_A_REFUSAL and not _begun(path):
            return path.name
    return None


def _begun(path: Path) -> bool:
    """Return whether this is `.hydra` of a run that was killed while it wrote its choice of noise, or its config."""
    if path.name != ".hydra" or path.is_symlink() or not path.is_dir():
        return False
    return all(completed_name(one.name) in ("config.yaml", "noise.json") for one in path.iterdir())


def _check_link(link: Path, folder: Path) -> None:
    target = os.path.realpath(link)
    if not Path(target).is_relative_to(os.path.realpath(folder)):
        raise ValueError(f"{link} is a link that leads out of the run's folder; remove it")
    if os.path.islink(target):
        raise ValueError(f"{link} is a link that leads to itself; remove it")


def _entries(folder: Path) -> Iterator[Path]:
    """Yield all entries below a folder, also broken links; links are not followed.

    Those inside wandb's folder for each run are left out: they are read by wandb alone, which links to its cache there.
    A checked folder of that name is no such folder.
    """
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in sorted([*folders, *files]))
        if Path(parent).name == WANDB and Path(parent) != folder:
            folders.clear()
