"""Metrics as TensorBoard events in `tensorboard/` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class TensorBoardLogger:
    """Scalars over `env_steps`. See them with `tensorboard --logdir outputs`."""

    def __init__(self, folder: str) -> None:
        """Write events to `folder`/tensorboard."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(Path(folder) / "tensorboard")

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, env_steps)

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """TensorBoard shows no mp4; the file lies in the run folder."""

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
