"""The state of jobs that are processes of this machine."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


class Queue:
    """The started processes, submitit's LocalJobs."""

    def __init__(self) -> None:
        """Begin without any process."""
        self._processes: dict[str, Any] = {}
        self.status = ""

    def add(self, process: Any) -> Any:
        """Include a process; returns it."""
        self._processes[process.job_id] = process
        return process

    def finished(self, ids: Collection[str]) -> set[str]:
        """Return the ids of the processes that have exited."""
        finished = {one for one in ids if self._processes[one].done()}
        self.status = f"{len(ids) - len(finished)} running"
        return finished
