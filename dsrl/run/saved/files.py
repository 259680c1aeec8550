"""Writes files that are complete or absent, and reads those that somebody else may have written."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MIB = 2**20
LARGEST_JSON = 256 * MIB  # bytes of a run's whole state; dsrl writes no larger file
LARGEST_WORLDS = 16 * MIB  # of the results of single worlds, 100 bytes each
LARGEST_SUMMARY = 4 * MIB  # of a file without worlds and weights, which has some kilobytes; parsed, JSON takes 30 times
_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{8}\.partial")
_STALE = 3600.0  # s: no file takes that long to write


def atomic_write(path: Path, content: bytes) -> None:
    """Replace a file so that it is complete or unchanged, also after a crash.

    A link at `path`, a hard one too, is replaced and never written through. Each call has a partial file of its own, so
    that two processes may write the same file: one of the contents stays, complete.
    """
    _remove_stale_partials(path)
    partial = path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def completed_name(partial: str) -> str | None:
    """Return the name of the file that `atomic_write` replaces by a partial file; None for another name."""
    found = _PARTIAL.fullmatch(partial)
    return None if found is None else found[1]


def _remove_stale_partials(path: Path) -> None:
    """Remove the partial files of processes that were killed while they wrote `path`."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):  # another process may have removed it, or it is a folder, which is none of ours
            if completed_name(partial.name) == path.name and time.time() - partial.lstat().st_mtime > _STALE:
                partial.unlink()


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file."""
    atomic_write(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """Return the object in a JSON file; empty for one that is missing, damaged or larger than `limit` bytes."""
    try:
        content = parse_json(path, limit)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def parse_json(path: Path, limit: int) -> Any:
    """Return the content of a JSON file of at most `limit` bytes.

    Raises ValueError for one that is damaged, larger or nested too deeply.
    """
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError(2, "no such file", str(path))
    check_length(path, limit)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def check_length(path: Path, limit: int) -> None:
    """Raise ValueError for a file of more than `limit` bytes."""
    if path.stat().st_size > limit:
        raise ValueError(f"{path} is larger than the {limit // MIB} MiB that a file of a run can have")


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_writable(folder: Path, key: str) -> None:
    """Make a folder, which `key` named on the command line; raises ValueError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ValueError(f"{key}={folder} cannot be used ({error.strerror}); name another folder") from error
