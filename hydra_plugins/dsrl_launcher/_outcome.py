"""The runs of a sweep and their outcomes: the values that launchers, watch and report exchange."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
