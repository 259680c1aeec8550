"""Destinations of a run's metrics, results and videos: one module each, with the methods of `Logger`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from dsrl.logging._named import naming as naming


@dataclass(frozen=True)
class Description:
    """The run that is logged, for destinations that list many of them."""

    config: Mapping[str, Any]  # resolved, in plain values
    name: str  # task, algorithm, what else was typed, seed
    group: str | None  # the sweep; None for a single run
    tags: tuple[str, ...]  # task, policy and algorithm
    kind: Literal["train", "eval"]


class Logger(Protocol):
    """A destination of metrics. The x-axis is always `env_steps`: simulator steps executed in training."""

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Log metrics at `env_steps`."""

    def state_dict(self) -> Any:
        """Return its position in the run, in plain values, for a checkpoint."""

    def load_state_dict(self, state: Any | None) -> None:
        """Continue from an earlier `state` (None: the beginning), as if nothing had been logged since.

        Called once, before anything is logged; the state may come from the run of another folder.
        """

    def close(self) -> None:
        """Write all metrics that are still in memory."""


@runtime_checkable
class ShowsVideos(Protocol):
    """A destination that can show videos (optional)."""

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Log an mp4 file."""


@runtime_checkable
class ShowsResults(Protocol):
    """A destination with final numbers of a run besides its curves (optional)."""

    def results(self, values: Mapping[str, Any]) -> None:
        """Set final numbers and texts by name."""
