"""Metrics as TensorBoard events in `tensorboard/` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class TensorBoardLogger:
    """Scalars over `env_steps`. See them with `tensorboard --logdir outputs`."""

    def __init__(self, folder: str) -> None:
        """Write events to `folder`/tensorboard, beside those of earlier parts of the run."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = Path(folder) / "tensorboard"
        self._make = SummaryWriter
        self._writer: SummaryWriter | None = None
        self._latest = -1  # env_steps

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        if self._writer is None:
            self._writer = self._make(self._folder)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, env_steps)
        self._latest = max(self._latest, env_steps)

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """TensorBoard shows no mp4; the file lies in the run folder."""

    def position(self) -> int:
        """The latest env_steps."""
        return self._latest

    def rewind(self, position: int | None) -> None:
        """Begin an event file that hides what earlier ones hold beyond `position`."""
        self._latest = -1 if position is None else position
        if any(self._folder.glob("events*")):
            self._writer = self._make(self._folder, purge_step=self._latest + 1)

    def close(self) -> None:
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
