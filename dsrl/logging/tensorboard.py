"""Metrics as TensorBoard events in `tensorboard/` of the run folder."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardLogger:
    """Scalars over `env_steps`, shown by `tensorboard --logdir outputs`.

    Every point is in its file when `log` returns: the writers of torch and tensorboard buffer points in a background
    thread for two minutes, where a kill loses them and a full disk ends in a traceback of that thread.
    """

    def __init__(self, folder: str) -> None:
        """Write events to `folder`/tensorboard, beside those of earlier parts of the run."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._log_of = event_pb2.Event, summary_pb2.Summary, event_pb2.SessionLog
        self._record_writer = RecordWriter
        self._folder = Path(folder) / "tensorboard"
        self._file: Path | None = None
        self._latest = -1  # env_steps

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        values = [self._summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self._write(step=env_steps, summary=self._summary(value=values))
        self._latest = max(self._latest, env_steps)

    def video(self, name: str, path: Path, env_steps: int) -> None:
        """Do nothing: TensorBoard shows no mp4, and the file is in the run folder."""

    def state_dict(self) -> int:
        """Return the latest env_steps."""
        return self._latest

    def load_state_dict(self, state: int | None) -> None:
        """Begin an event file that hides the points of earlier ones beyond `state`."""
        self._latest = -1 if state is None else state
        if any(self._folder.glob("events*")):
            self._write(step=self._latest + 1, session_log=self._log_of(status=self._log_of.START))

    def close(self) -> None:
        """Do nothing: every point is on disk already."""

    def _write(self, **event: Any) -> None:
        records = io.BytesIO()
        writer = self._record_writer(records)
        now = time.time()
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            begun, latest = _earlier(self._folder)
            named = max(now, latest + 1e-3)  # TensorBoard reads the files of a folder by name; clocks are set back
            name = f"events.out.tfevents.{named:017.6f}.{socket.gethostname()}.{os.getpid()}.{begun}"
            self._file = self._folder / name
            writer.write(self._event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        writer.write(self._event(wall_time=now, **event).SerializeToString())
        with self._file.open("ab") as file:
            file.write(records.getvalue())


def _earlier(folder: Path) -> tuple[int, float]:
    """Return the number of event files in a folder, and the latest time in their names."""
    names = [path.name for path in folder.glob("events*")]
    times = [float(match[1]) for name in names if (match := re.match(r"events\.out\.tfevents\.(\d+(?:\.\d+)?)", name))]
    return len(names), max(times, default=0.0)
