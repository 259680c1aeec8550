"""The runs of a sweep and their outcomes: the values that launchers, watch and report exchange."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides


@dataclass(frozen=True)
class Run:
    """One run of a sweep."""

    number: int
    overrides: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: Hydra's JobReturn as `value`, or one sentence as `problem`."""

    run: Run
    value: Any
    problem: str | None
    log: Path  # its stderr

    @property
    def score(self) -> float | None:
        """Returns the number that the run returned; None where it failed or returned something else."""
        value = None if self.problem else self.value.return_value
        return value if isinstance(value, float) else None


def in_process(number: int, done: JobReturn, sweep: Path) -> Outcome:
    """Return the outcome of a run in this process, whose log is the file that a failed run writes."""
    assert done.hydra_cfg is not None
    hydra = done.hydra_cfg.hydra  # alone, without the keys that sweep.dir may refer to
    overrides = tuple(filter_overrides(list(hydra.overrides.task)))
    folder = sweep / Path(str(hydra.runtime.output_dir)).relative_to(os.path.abspath(sweep))  # both without ".."
    run, problem = Run(number, overrides, folder), None
    if done.status == JobStatus.FAILED:
        problem = traceback.format_exception_only(done._return_value)[-1].strip()  # `return_value` would raise it
    return Outcome(run, done, problem, run.folder / "failure.txt")
