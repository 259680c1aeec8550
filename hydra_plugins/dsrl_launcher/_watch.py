"""Starts the jobs of a sweep, waits for them and reports each outcome at once.

waiting --start--> running --result file, or finished for good--> Outcome
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra_plugins.dsrl_launcher._outcome import Outcome, Run
from hydra_plugins.dsrl_launcher._private_files import ForeignFileError, read_pickle

_SUCCESS, _ERROR = "success", "error"
_POLL = 0.5  # seconds
_GRACE = 10.0  # seconds in which the result of a finished job may still appear on a network file system


class Handle(Protocol):
    """A submitted job, submitit's."""

    job_id: str
    paths: Any  # submitit.core.utils.JobPaths


class Queue(Protocol):
    """The system that runs submitted jobs."""

    status: str

    def finished(self, ids: Collection[str]) -> set[str]:
        """Returns the ids of those jobs that will not run (again)."""


@dataclass(frozen=True)
class Job:
    """A run that can be submitted."""

    run: Run
    start: Callable[[], Handle]


def watch(
    jobs: Sequence[Job],
    queue: Queue,
    at_once: int,
    on_outcome: Callable[[Outcome], None],
    announce: Callable[[str], None],
) -> list[Outcome]:
    """Start the jobs, at most `at_once` at a time, and wait for all; returns their outcomes in the order of `jobs`."""
    waiting, running, outcomes = deque(jobs), dict[str, tuple[Run, Handle]](), dict[int, Outcome]()
    since: dict[str, float] = {}
    status = ""
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.popleft()
            handle = job.start()
            running[handle.job_id] = (job.run, handle)
        for one in _complete(running, queue.finished(list(running)), since):
            run, handle = running.pop(one)
            outcomes[run.number] = _outcome(run, handle)
            on_outcome(outcomes[run.number])
        if running and queue.status not in ("", status):
            status = queue.status
            announce(f"{len(outcomes)} of {len(jobs)} jobs finished; {status}")
        time.sleep(_POLL if running else 0.0)
    return [outcomes[job.run.number] for job in jobs]


def _complete(running: Mapping[str, tuple[Run, Handle]], finished: set[str], since: dict[str, float]) -> list[str]:
    """Return the ids of finished jobs whose files are complete; `since` maps ids to the first time seen as finished.

    A failure counts once the job is finished: until then its log grows, or it is queued again and may yet succeed.
    """
    complete = []
    for one, (_, handle) in running.items():
        result = _result(handle)
        if result is not None and (result[0] == _SUCCESS or one in finished):
            complete.append(one)
        elif one not in finished:
            since.pop(one, None)
        elif time.monotonic() - since.setdefault(one, time.monotonic()) > _GRACE:
            complete.append(one)
    return complete


def _result(handle: Handle) -> tuple[str, Any] | None:
    """Read submitit's result, (_SUCCESS, value) or (_ERROR, traceback); None where there is none yet."""
    try:
        result: tuple[str, Any] | None = read_pickle(handle.paths.result_pickle)
    except ForeignFileError as error:
        return _ERROR, str(error)
    return result


def _outcome(run: Run, handle: Handle) -> Outcome:
    result, log = _result(handle), handle.paths.stderr
    if result is None:
        problem = f"job {handle.job_id} finished without a result: it was cancelled, killed or ran out of memory"
        return Outcome(run, None, problem, log)
    kind, value = result
    if kind == _SUCCESS:
        return Outcome(run, value, None, log)
    return Outcome(run, None, value.strip().splitlines()[-1], log)
