"""Harmless pickles and modules that leave a file when somebody loads them, planted where a launch might read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from pathlib import Path


class Canary:
    """An object whose pickle makes the file `sign` when it is loaded."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.sign),)


def coming_processes() -> Iterable[str]:
    """Return the numbers of the processes that start next."""
    return map(str, range(os.getpid(), os.getpid() + 2000))


def plant(sweep: Path, sign: Path, jobs: Iterable[str]) -> None:
    """Fill the folder of a sweep with canaries: as results and submissions of the coming `jobs`, and as code."""
    result = pickle.dumps(("success", Canary(sign)))
    for job in ("%j", *jobs):
        folder = sweep / ".submitit" / job
        folder.mkdir(parents=True)
        for name in (f"{job}_0_result.pkl", f"{job}_submitted.pkl"):
            (folder / name).write_bytes(result)
            (sweep / ".submitit" / name).write_bytes(result)
    for name in ("result.pkl", "multirun.pkl", "study.pkl", "launcher.pkl"):
        (sweep / name).write_bytes(result)
    for folder in (sweep, sweep / ".snapshot" / "0", sweep / ".snapshot" / "1"):
        (folder / "dsrl").mkdir(parents=True)
        for name in ("sitecustomize.py", "usercustomize.py", "train.py", "submitit.py", "dsrl/__init__.py"):
            (folder / name).write_text(f"import os; os.mkdir({str(sign)!r})\n")
