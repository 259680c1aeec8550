"""Destinations of a run's metrics and videos: one module each, with the methods of `Logger`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Logger(Protocol):
    """A destination of metrics. The x-axis is always `env_steps`: simulator steps executed in training."""

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Log metrics at `env_steps`."""

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Log an mp4 file, where the destination can show one."""

    def state_dict(self) -> Any:
        """Return its position in the run, in plain values, for a checkpoint."""

    def load_state_dict(self, state: Any | None) -> None:
        """Continue from an earlier `state` (None: the beginning), as if nothing had been logged since.

        Called once, before anything is logged; the state may come from the run of another folder.
        """

    def close(self) -> None:
        """Write all metrics that are still in memory."""
