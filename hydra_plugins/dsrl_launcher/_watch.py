"""Start jobs, wait for them and say at once how each ended: the part of a sweep that the submitting terminal shows.

waiting --start--> running --result file, or gone for good--> Ended
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_SUCCESS = "success"
_POLL = 0.5  # seconds
_GRACE = 10.0  # seconds in which the result of a job that is gone may still appear on a network file system


class Handle(Protocol):
    """A submitted job, submitit's."""

    job_id: str
    paths: Any  # submitit.core.utils.JobPaths


class Queue(Protocol):
    """Knows about submitted jobs."""

    status: str

    def gone(self, ids: Collection[str]) -> set[str]:
        """Those jobs that will not run (again)."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    number: int
    overrides: tuple[str, ...]
    folder: Path
    start: Callable[[], Handle]


@dataclass(frozen=True)
class Ended:
    """How a job ended: with one sentence of its `problem`, or with None and Hydra's JobReturn as `value`."""

    job: Job
    value: Any
    problem: str | None
    log: Path  # its stderr

    @property
    def score(self) -> float | None:
        """What the run returned; None where it failed or returned no number."""
        value = None if self.problem else self.value.return_value
        return value if isinstance(value, float) else None


def watch(
    jobs: Sequence[Job],
    queue: Queue,
    at_once: int,
    on_end: Callable[[Ended], None],
    announce: Callable[[str], None],
) -> list[Ended]:
    """Start the jobs, at most `at_once` at a time, and wait until all have ended; in the order of `jobs`."""
    waiting, running, ended = deque(jobs), dict[str, tuple[Job, Handle]](), dict[int, Ended]()
    since: dict[str, float] = {}
    status = ""
    while waiting or running:
        while waiting and len(running) < at_once:
            handle = waiting[0].start()
            running[handle.job_id] = (waiting.popleft(), handle)
        for one in _over(running, queue.gone(list(running)), since):
            job, handle = running.pop(one)
            ended[job.number] = _ended(job, handle)
            on_end(ended[job.number])
        if running and queue.status not in ("", status):
            status = queue.status
            announce(f"{len(ended)} of {len(jobs)} jobs ended; {status}")
        time.sleep(_POLL if running else 0.0)
    return [ended[job.number] for job in jobs]


def _over(running: Mapping[str, tuple[Job, Handle]], gone: set[str], since: dict[str, float]) -> list[str]:
    """Those jobs that have ended and whose files are complete; `since` keeps when each was first seen to be gone.

    A failure counts once the job is gone: until then its log grows, or it is queued again and may yet succeed.
    """
    over = []
    for one, (_, handle) in running.items():
        result = _result(handle)
        if result is not None and (result[0] == _SUCCESS or one in gone):
            over.append(one)
        elif one not in gone:
            since.pop(one, None)
        elif time.monotonic() - since.setdefault(one, time.monotonic()) > _GRACE:
            over.append(one)
    return over


def _result(handle: Handle) -> tuple[str, Any] | None:
    """What submitit wrote, (_SUCCESS, value) or ("error", traceback); None where it has not yet."""
    path = handle.paths.result_pickle
    if not path.exists():
        return None
    result: tuple[str, Any] = pickle.loads(path.read_bytes())  # a file of our own sweep folder
    return result


def _ended(job: Job, handle: Handle) -> Ended:
    result, log = _result(handle), handle.paths.stderr
    if result is None:
        return Ended(job, None, f"job {handle.job_id} ended without a result: cancelled, killed or out of memory", log)
    kind, value = result
    return Ended(job, value, None, log) if kind == _SUCCESS else Ended(job, None, value.strip().splitlines()[-1], log)
