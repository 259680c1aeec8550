"""Checkpoints: one format for best, last and resume, without pickle, complete or absent.

    state -> <digest>.safetensors (tensors) + <digest>.json (structure) + manifest.json -> the same state, bit by bit

manifest.json = {"version": 3, "files": {name: sha256}, "notes": {...}}; without a version it is of format 1. Best and
last weights of formats 1 and 2 are read as well; training continues from format 3 alone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsrl.available_memory import available_memory
from dsrl.foreign_json import check_depth
from dsrl.interfaces import StateDict
from dsrl.run.saved.checkpoint_names import FILE, MANIFEST, PARTIAL, is_own
from dsrl.run.saved.files import (
    LARGEST_JSON,
    LARGEST_SUMMARY,
    MIB,
    atomic_write,
    check_length,
    parse_json,
    sha256_of,
    sync_folder,
    write_json,
)
from dsrl.run.saved.state_json import flatten, naming_damage, unflatten

VERSION = 3
EARLIER = (1, 2)  # of other losses and contexts in replay
DEEPEST = 200  # levels of the structure, three for each of a state, which has about ten
_UNFINISHED = ".unfinished"


class WrongVersionError(ValueError):
    """The checkpoint is complete and of a format that cannot be continued."""


class DamagedError(ValueError):
    """There are checkpoints, and none of them is complete."""


class MemoryShortError(ValueError):
    """The weights take more memory than is free; they may be whole."""


def write_checkpoint(folder: Path, state: StateDict, notes: Mapping[str, Any] | None = None) -> None:
    """Replace the checkpoint in `folder` and wait until it is on the disk.

    Whenever this is cut short, the previous one is still there, complete. Raises OSError where there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(flatten(state, "", tensors)).encode()
    partial = folder / PARTIAL
    partial.unlink(missing_ok=True)  # of a process that was killed while it wrote
    _write_tensors(partial, tensors)
    digests = {".safetensors": sha256_of(partial), ".json": hashlib.sha256(structure).hexdigest()}
    files = {f"{digest[:16]}{suffix}": digest for suffix, digest in digests.items()}
    of_tensors, of_structure = files
    os.replace(partial, folder / of_tensors)
    atomic_write(folder / of_structure, structure)
    write_json(folder / MANIFEST, {"version": VERSION, "files": files, "notes": dict(notes or {})})
    sync_folder(folder)  # from here on the new files are the checkpoint
    for stale in folder.iterdir():
        if is_own(stale.name) and stale.name not in (MANIFEST, *files):
            stale.unlink()


def add_notes(folder: Path, notes: Mapping[str, Any]) -> None:
    """Replace notes of a complete checkpoint."""
    manifest = read_manifest(folder)
    write_json(folder / MANIFEST, {**manifest, "notes": {**manifest["notes"], **notes}})


def read_checkpoint(folder: Path, largest: int = LARGEST_JSON) -> StateDict:
    """Return the state that `write_checkpoint` wrote; `largest` bounds its structure, in bytes.

    Raises ValueError where a file is missing, damaged, or not of a checkpoint, MemoryShortError, or OSError.
    """
    parts = {}
    for name, digest in read_manifest(folder)["files"].items():
        path = folder / name
        if path.is_file():
            _check_size(path, largest)
        if not path.is_file() or sha256_of(path) != digest:
            raise ValueError(f"{path} is damaged: its sha256 differs from the manifest's; use another checkpoint")
        parts[path.suffix] = path
    with naming_damage(lambda reason: ValueError(f"{folder} is damaged: {reason}; use another checkpoint")):
        tensors = load_file(parts[".safetensors"])
        structure = parse_json(parts[".json"], largest)
        check_depth(structure, DEEPEST)
        return unflatten(structure, tensors)  # type: ignore[no-any-return]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return `version`, `files` and `notes` of a checkpoint. Raises ValueError for a folder without any, or OSError."""
    try:
        manifest = parse_json(folder / MANIFEST, LARGEST_SUMMARY)
    except (FileNotFoundError, NotADirectoryError) as error:  # others are no damage
        raise ValueError(f"{folder} is damaged: {MANIFEST} is missing; use another checkpoint") from error
    except ValueError as error:
        raise ValueError(f"{error}; use another checkpoint") from error
    if isinstance(manifest, dict) and "version" not in manifest:
        manifest = {"version": 1, "files": manifest, "notes": {}}
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"{folder / MANIFEST} is damaged: it lists no files")
    if not isinstance(manifest.setdefault("notes", {}), dict):
        raise ValueError(f"{folder / MANIFEST} is damaged: its notes are no names with values")
    if manifest["version"] not in (*EARLIER, VERSION):
        found = str(manifest["version"])[:20]
        raise WrongVersionError(
            f"{folder} has format {found}, which this version of dsrl cannot read (it reads {VERSION})"
        )
    if manifest["version"] == 1 and not all(FILE.fullmatch(str(name)) for name in manifest["files"]):
        raise WrongVersionError(
            f"{folder} has format 1, from which training cannot continue here (its best weights still evaluate); "
            "continue it with the version of dsrl that wrote it, or start a new run in another folder"
        )
    if not all(FILE.fullmatch(str(name)) and isinstance(digest, str) for name, digest in manifest["files"].items()):
        raise ValueError(f"{folder / MANIFEST} is damaged: it names files that no checkpoint has")
    return manifest


def _check_size(path: Path, largest: int) -> None:
    """Compare a file with what may be read, before its digest is computed: a sparse one of terabytes takes hours.

    Raises ValueError for JSON of more than `largest` bytes, MemoryShortError for weights larger than free memory.
    """
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


class Checkpoints:
    """Numbered checkpoints in one folder, of which the newest stay; other entries of the folder are left alone.

    resume/000001000/   <digest>.safetensors   <digest>.json   manifest.json
    """

    def __init__(self, folder: Path, keep: int) -> None:
        """`keep` is the number that stay; the second newest is used where the newest is damaged."""
        self.folder, self.keep = folder, keep

    def save(self, number: int, state: StateDict) -> None:
        """Add checkpoint `number`, or replace it.

        Whenever this is cut short, all others and the one that is replaced are still complete. Raises OSError.
        """
        target = self.folder / f"{number:09d}"
        if _is_ours(target):
            write_checkpoint(target, state)
        else:
            self._add(target, state)
        for stale in self._numbered()[self.keep :]:
            _remove(stale)

    def _add(self, target: Path, state: StateDict) -> None:
        unfinished = self._unfinished()
        try:
            write_checkpoint(unfinished, state)
            _remove(target)  # empty, or with partial files alone
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "files that are not of a checkpoint are in the way", str(target))
            os.rename(unfinished, target)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(self.folder)

    def newest(self, warn: Callable[[str], None]) -> StateDict | None:
        """Return the newest complete checkpoint, None without any; `warn` receives a sentence per damaged one.

        Raises WrongVersionError for one of another format, MemoryShortError, OSError, DamagedError if all are damaged.
        """
        numbered = self._numbered()
        for folder in numbered:
            try:
                version = read_manifest(folder)["version"]
                if version != VERSION:
                    raise WrongVersionError(f"{folder} has format {version}, from which training cannot continue here")
                return read_checkpoint(folder)
            except (WrongVersionError, MemoryShortError):  # no damage, as OSError: an earlier one would replace it
                raise
            except ValueError as error:
                warn(str(error) if folder == numbered[-1] else f"{error}; trying the checkpoint before it")
        if not numbered:
            return None
        some = "the only checkpoint" if len(numbered) == 1 else f"none of the {len(numbered)} checkpoints"
        is_whole = "is not complete" if len(numbered) == 1 else "is complete"
        raise DamagedError(f"{some} in {self.folder} {is_whole}; restore one")

    def drop_after(self, number: int) -> None:
        """Remove checkpoints beyond `number`: they are damaged, or of a continuation that was abandoned."""
        for folder in self._numbered():
            if int(folder.name) > number:
                _remove(folder)

    def _unfinished(self) -> Path:
        """Return a free place to write to, without the rest of a run that was killed while it wrote."""
        unfinished = self.folder / _UNFINISHED
        _remove(unfinished)
        if os.path.lexists(unfinished):  # of somebody else
            return Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        return unfinished

    def _numbered(self) -> list[Path]:
        """List the checkpoints, newest first, damaged ones too: folders with a manifest or weights of ours."""
        found = self.folder.iterdir() if self.folder.is_dir() and not self.folder.is_symlink() else ()
        ours = [path for path in found if re.fullmatch(r"\d{9}", path.name) and _is_ours(path)]
        return sorted(ours, key=lambda path: int(path.name), reverse=True)


def _is_ours(folder: Path) -> bool:
    """Return whether this is a checkpoint, whole or damaged.

    Weights without a manifest are damage: a new checkpoint gets its number when it is complete, and loses its manifest
    last.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    return any(path.name == MANIFEST or FILE.fullmatch(path.name) for path in folder.iterdir() if path.is_file())


def _remove(folder: Path) -> None:
    """Remove a checkpoint, whole or in part; files of somebody else stay, and the folder with them."""
    if folder.is_symlink() or not folder.is_dir():
        return
    entries = list(folder.iterdir())
    own = [path for path in entries if is_own(path.name)]
    if len(own) < len(entries) and not (folder / MANIFEST).is_file():
        return
    for path in sorted(own, key=lambda one: one.name == MANIFEST):
        path.unlink()
    if len(own) == len(entries):
        folder.rmdir()


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        save_file(tensors, path)
        with safe_open(path, "pt"):  # its header must fit the length: no file that a full disk has cut short
            pass
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.ENOSPC  # a file that was cut short
        raise OSError(number, os.strerror(number), str(path)) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())
