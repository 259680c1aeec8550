"""Makes the private folder of a launch and unpickles only files in it that its own jobs wrote.

A sweep folder may come from somebody else and hold planted pickles under any name. Therefore every launch makes
a new folder with an unpredictable name, which only its user can enter, and reads nothing beside it:

<sweep>/.submitit/<random>/   <job>_submitted.pkl (read by the job)   <job>_0_result.pkl (read by the launch)
                              <job>_0_log.out   <job>_0_log.err       (of cluster=local in a folder <run> each)
"""

from __future__ import annotations

import os
import pickle
import stat
import tempfile
from pathlib import Path
from typing import Any

from dsrl.run.terminal.errors import UserError


class ForeignFileError(Exception):
    """A file that no job of this launch can have written."""


def make_private_folder(sweep: Path) -> Path:
    """Make a new folder of mode 0700 below `sweep`; returns its absolute path.

    Raises UserError where submitit or SLURM would write elsewhere, or the place belongs to somebody else.
    """
    if "%" in str(sweep.absolute()):  # %j, %a, … are replaced in every path
        raise UserError(f"hydra.sweep.dir={sweep} must not contain %, which SLURM replaces; type a folder without it")
    return Path(tempfile.mkdtemp(prefix="", dir=own_folder(sweep, ".submitit")))


def own_folder(sweep: Path, name: str) -> Path:
    """Make the hidden folder `name` of a sweep where it does not exist; returns its absolute path.

    Raises UserError where it is a link, a file, or somebody else's.
    """
    sweep.mkdir(parents=True, exist_ok=True)
    folder = sweep.absolute() / name
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UserError(f"{sweep / name} must be a folder of your own, not a link; type another hydra.sweep.dir")
    return folder


def read_pickle(path: Path) -> Any:
    """Unpickle a file of the private folder; None where it does not exist yet.

    Raises ForeignFileError for links, for all but regular files, and for files of other users.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ForeignFileError(f"{path} was not read: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise ForeignFileError(f"{path} was not read: it must be a regular file of your own")
    with os.fdopen(descriptor, "rb") as file:
        return pickle.load(file)
