"""The newest value of every metric in one small text file: `watch cat outputs/…/…/latest.txt`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class LatestLogger:
    """Rewrites `latest.txt` at every call."""

    def __init__(self, folder: str) -> None:
        """Writes into `folder`, the run's own."""
        self._path = Path(folder) / "latest.txt"
        self._latest: dict[str, float] = {}

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Records some metrics as they are after `env_steps` control steps of training."""
        self._latest |= {"env_steps": float(env_steps), **metrics}
        lines = [f"{name:<40} {value:.6g}\n" for name, value in sorted(self._latest.items())]
        self._path.write_text("".join(lines))

    def state_dict(self) -> dict[str, float]:
        """Returns the state that a checkpoint stores."""
        return dict(self._latest)

    def load_state_dict(self, state: dict[str, float] | None) -> None:
        """Continues from the state in a checkpoint; None is the beginning."""
        self._latest = dict(state or {})

    def close(self) -> None:
        """Does nothing: the file is complete after every call."""
