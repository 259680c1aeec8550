"""Locks a folder for one process; the system unlocks it when the process ends, also after a kill."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from dsrl.run.terminal.errors import UserError

WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of a file system, as some of networks


def locked(path: Path, key: str) -> TextIO:
    """Lock the file `path` in a folder that `key` names on the command line, and return it; closing it unlocks.

    Raises UserError where another process has locked it, and where it cannot be locked.
    """
    file = os.fdopen(_lock_file(path, key), "r+", encoding="utf-8")
    try:
        _lock(file, path.parent, key)
    except BaseException:
        file.close()
        raise
    return file


def owner_here(path: Path) -> int | None:
    """Return the process of this machine that has locked the file `path`; None where none has, or it is not known."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # no run has begun there; what else is wrong, the run itself reports
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = re.fullmatch(rf"process (\d+) on {re.escape(socket.gethostname())}\n", os.fsdecode(file.read(200)))
            return None if found is None else int(found[1])
        except OSError:
            return None
    return None


def _lock(file: TextIO, folder: Path, key: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = file.read(200).strip() or "another process"
        raise UserError(f"{folder} is in use by {owner}; wait for it, or type {key}=<another folder>") from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        raise UserError(
            f"the file system of {folder} does not support locks ({error.strerror}); "
            f"name a folder on another disk as {key}"
        ) from error
    with suppress(OSError):  # a full disk: the lock holds without the name of its owner
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _lock_file(path: Path, key: str) -> int:
    """Open the lock file and return its descriptor."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name a folder of yours as {key}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is not a file; remove it")
    return descriptor
