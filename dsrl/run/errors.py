"""What people type wrongly ends the program with one sentence: what was found and what would work."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import Container
from omegaconf.errors import OmegaConfBaseException

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file cannot become longer."""


class UserError(Exception):
    """Something that the user typed cannot work; the message is one sentence that says what would."""


def run(main: Callable[[], Any]) -> None:
    """Call a `hydra.main` function; raises SystemExit with one sentence where Hydra cannot compose its config."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print several lines of its own and end the program itself
    try:
        main()
    except (HydraException, OmegaConfBaseException, UserError) as error:
        raise SystemExit(f"error: {explain(error)}") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        what = error.filename or "what Hydra writes first"
        raise SystemExit(
            f"error: no room for {what} ({error.strerror}); make room and type the command again"
        ) from None


def explain(error: Exception) -> str:
    """One sentence for an error of composing a config."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={choice} is not known; choose one of {', '.join(sorted(error.options))}"
    cause = error.__cause__
    if isinstance(cause, UserError):
        return str(cause)
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, Container):
        return _unknown_key(str(cause.full_key), cause.parent_node)
    group_typed = re.search(r"Could not override '(\S+)'.*?No match", str(error), re.DOTALL)
    if group_typed:
        return f"{group_typed[1]} is no key and no group; python train.py --help lists both"
    return " ".join(str(error).split())


def _unknown_key(full_key: str, parent: Container) -> str:
    where, _, key = full_key.rpartition(".")
    known = [str(name) for name in parent] if hasattr(parent, "keys") else []
    if full_key == "cluster":
        return "cluster.… is no option without a cluster; type cluster=slurm or cluster=local before it"
    prefix = f"{where}." if where else ""
    near = get_close_matches(key, known, n=1)
    if near:
        return f"{full_key} is no option; did you mean {prefix}{near[0]}?"
    choices = (
        f"choose one of {', '.join(prefix + name for name in known)}" if known else f"type +{full_key}=… to add it"
    )
    return f"{full_key} is no option; {choices}"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the errors of our own checks into UserError; all others are mistakes of ours and pass with a traceback."""
    try:
        yield
    except (InstantiationException, OmegaConfBaseException, ValueError, FileNotFoundError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, OmegaConfBaseException):
            raise UserError(f"{cause.full_key or 'config'}: {str(cause.msg).splitlines()[0]}") from error
        if not isinstance(cause, ValueError | FileNotFoundError):
            raise
        raise UserError(str(cause)) from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the program with the sentence alone where the user can mend it: other values, or something to install.

    In a sweep the launcher has to receive the exception.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    try:
        yield
    except (UserError, ImportError) as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None
