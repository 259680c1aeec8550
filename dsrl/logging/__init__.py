"""Where numbers go while a run is under way: one module per destination, all with the two verbs below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Logger(Protocol):
    """A destination of metrics. The x-axis is always `env_steps`: simulator steps executed in training."""

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Keep some metrics as they stand after `env_steps`."""

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Keep an mp4 file, where the destination can show one."""

    def state_dict(self) -> Any:
        """How far it has got, in plain values, for a checkpoint."""

    def load_state_dict(self, state: Any | None) -> None:
        """Go on from an earlier `state` (None: the beginning), as if nothing had been logged since.

        Called once, before anything is logged; the position may come from the run of another folder.
        """

    def close(self) -> None:
        """Write out what is still in memory."""
