"""What this machine says about jobs that are its own processes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


class Queue:
    """The processes that were started, as submitit's LocalJob."""

    def __init__(self) -> None:
        """Empty at first."""
        self._processes: dict[str, Any] = {}
        self.status = ""

    def add(self, process: Any) -> Any:
        """Keep an eye on a process; returns it."""
        self._processes[process.job_id] = process
        return process

    def gone(self, ids: Collection[str]) -> set[str]:
        """Those that have ended."""
        gone = {one for one in ids if self._processes[one].done()}
        self.status = f"{len(ids) - len(gone)} running"
        return gone
