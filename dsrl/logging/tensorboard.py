"""Metrics as TensorBoard events in `tensorboard/` of the run folder."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrl.logging._named import naming
from dsrl.logging._restored import check_list, check_point

_LARGEST_STEP = 2**53  # that a count of a run has, by dsrl.training.restored_numbers


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
        self._points: list[tuple[str, float]] = []  # those of the latest step

    def log(self, metrics: Mapping[str, float], env_steps: int) -> None:
        """Add one point to the curve of every metric."""
        points = [(name, float(value)) for name, value in metrics.items()]
        self._log(points, env_steps)
        if env_steps >= self._latest:
            self._points = points if env_steps > self._latest else self._points + points
            self._latest = env_steps

    def state_dict(self) -> tuple[int, list[tuple[str, float]]]:
        """Return the latest env_steps and its points."""
        return self._latest, list(self._points)

    def load_state_dict(self, state: tuple[int, list[tuple[str, float]]] | int | None) -> None:
        """Begin an event file that hides the points of earlier ones from the latest step on, and has those of `state`.

        A state of earlier versions is the step alone: its own points are not hidden. Raises ValueError for a state that
        is none of these.
        """
        self._latest, points = (-1, []) if state is None else (state, []) if isinstance(state, int) else state
        if type(self._latest) is not int or not -1 <= self._latest <= _LARGEST_STEP:
            raise ValueError(f"the latest step of TensorBoard is not a whole number from -1 to {_LARGEST_STEP}")
        check_list("the points of TensorBoard", points)
        for point in points:
            check_point("a point of TensorBoard", dict([point]))
        self._points = [(name, float(value)) for name, value in points]
        if any(self._folder.glob("events*")):
            first = self._latest if self._points else self._latest + 1
            self._write(step=first, session_log=self._log_of(status=self._log_of.START))
            if self._points:
                self._log(self._points, self._latest)

    def close(self) -> None:
        """Do nothing: every point is on disk already."""

    def _log(self, points: Sequence[tuple[str, float]], env_steps: int) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in points]
        self._write(step=env_steps, summary=self._summary(value=values))

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
        with naming(self._file), self._file.open("ab") as file:
            file.write(records.getvalue())


def _earlier(folder: Path) -> tuple[int, float]:
    """Return the number of event files in a folder, and the latest time in their names."""
    names = [path.name for path in folder.glob("events*")]
    times = [float(match[1]) for name in names if (match := re.match(r"events\.out\.tfevents\.(\d+(?:\.\d+)?)", name))]
    return len(names), max(times, default=0.0)
