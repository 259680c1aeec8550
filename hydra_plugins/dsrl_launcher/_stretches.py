"""Notices a job that SLURM queues again and again without progress: its limit leaves no time for a checkpoint.

begin -> work -> the signal before the limit -> end: a checkpoint, or the base policy's results, newer than before?
"""

from __future__ import annotations

import time
from pathlib import Path

_PROGRESS = ("resume/*/manifest.json", "base.json")  # of a run folder: from which the next stretch goes on
_MOST = 2  # stretches in a row without any
_SHARE = 0.8  # of its time before the signal, after which a stretch was not merely preempted
_EARLY = 60.0  # seconds that SLURM may be early with its signal


class Stretches:
    """The stretches of one job; each process of the job gets this object from the one before, pickled."""

    def __init__(self, hours: float, signal_delay: int) -> None:
        """`hours` is the limit of a stretch; the signal comes `signal_delay` seconds before it.

        Raises UserError where it would come before the start.
        """
        from dsrl.run.terminal.errors import UserError  # here: Hydra imports this file at every start

        if signal_delay >= 3600 * hours:
            raise UserError(
                f"cluster.signal_delay={signal_delay} s must be shorter than cluster.hours={hours}; type a smaller one"
            )
        self._hours, self._signal_delay = hours, signal_delay
        self._begun: float | None = None  # monotonic time, of this process alone
        self._newest = 0  # time of the latest progress, in nanoseconds
        self._idle = 0  # stretches in a row without progress

    def begin(self) -> None:
        """Note the begin of a stretch."""
        self._begun = time.monotonic()

    def end(self, folder: Path) -> None:
        """Count a stretch of the run in `folder` that would be queued again.

        Raises UserError for the second in a row that has used up its time and brought no progress.
        """
        from dsrl.run.terminal.errors import UserError

        worked = 0.0 if self._begun is None else time.monotonic() - self._begun
        newest = max((path.stat().st_mtime_ns for one in _PROGRESS for path in folder.glob(one)), default=0)
        preempted = worked < _SHARE * (3600 * self._hours - self._signal_delay) - _EARLY
        self._idle = 0 if newest > self._newest else self._idle + (not preempted)
        self._begun, self._newest = None, max(newest, self._newest)
        if self._idle >= _MOST:
            raise UserError(
                f"{_MOST} stretches in a row wrote no checkpoint, so that this run would never end: "
                f"cluster.hours={self._hours:g} with cluster.signal_delay={self._signal_delay} leaves too little time; "
                "type a larger cluster.hours, or a smaller cluster.signal_delay"
            )
