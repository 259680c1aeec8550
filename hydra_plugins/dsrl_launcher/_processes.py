"""The state of jobs that are processes of this machine, and their end after Ctrl-C.

terminal --SIGINT--> launcher --SIGTERM--> submitit's controllers --SIGTERM--> jobs (checkpoint, then exit)
         --SIGINT--> jobs
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from dsrl.run.saved.lock import owner_here
from dsrl.run.terminal.errors import UserError
from hydra_plugins.dsrl_launcher._outcome import Run
from hydra_plugins.dsrl_launcher._report import say

_AGAIN = 2.0  # seconds after which a job that still runs gets the signal again: it may have been starting
_POLL = 0.1  # seconds
_YEAR = 60 * 24 * 365  # minutes, without which submitit ends a job after five


class Queue:
    """The started processes, submitit's LocalJobs."""

    def __init__(self) -> None:
        """Begin without any process."""
        self._processes: dict[str, Any] = {}
        self.status = ""

    def start(self, submit: Callable[[], Any]) -> Any:
        """Start a process by `submit`; returns it."""
        with _deaf_to_interrupts():
            process = submit()
        self._processes[process.job_id] = process
        return process

    def finished(self, ids: Collection[str]) -> set[str]:
        """Return the ids of the processes that have exited."""
        finished = {one for one in ids if self._processes[one].done()}
        self.status = f"{len(ids) - len(finished)} running"
        return finished

    def stop(self, sweep_dir: str, *, search: bool) -> None:
        """Send SIGTERM, on which a run writes a checkpoint, and wait until all have exited, or until Ctrl-C.

        `sweep_dir` is the override that continues the sweep; a `search` goes on with other trials.
        """
        say("stopping all jobs after this round with a checkpoint; press Ctrl-C again to stop at once")
        due = time.monotonic()
        try:
            while running := [one for one in self._processes.values() if not one.done()]:
                if time.monotonic() >= due:
                    due = time.monotonic() + _AGAIN
                    for one in running:
                        one._process.send_signal(signal.SIGTERM)
                time.sleep(_POLL)
        except KeyboardInterrupt:
            say("the jobs stop at once")
        effect = "goes on with other values and counts these trials as failed" if search else "continues them"
        say(f"the same command with {sweep_dir} {effect}")


def check_none_left(runs: Sequence[Run]) -> None:
    """Raise UserError where a process of an earlier command, whose launcher was killed, still works in a run's folder.

    Its run goes on as it should, and a job that is started now would only be refused by the lock of the folder.
    """
    owners = [(run.number, owner_here(run.folder / ".lock")) for run in runs]
    left = {number: owner for number, owner in owners if owner is not None}
    if left:
        found = ", ".join(f"run {number} as process {owner}" for number, owner in left.items())
        raise UserError(
            f"an earlier command has left {found}; wait until that has ended, or end it with a checkpoint "
            f"(kill {' '.join(map(str, left.values()))}), and type the same command again"
        )


def submit(python: str, gpus: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Start a process that calls `function`; returns submitit's LocalJob, whose files are in `folder`.

    The folder exists before the process does. One named after the process's number (%j), as is usual with submitit,
    is made only afterwards, and a process that is faster finds no place for its log and ends at once.
    """
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster="local", local_python=python)  # makes the folder
    executor.update_parameters(timeout_min=_YEAR, gpus_per_node=gpus)
    return executor.submit(function, *arguments)


def restore_interrupts() -> None:
    """Let Ctrl-C interrupt this process also where its shell made it ignore that, as for a script's background.

    Its jobs handle the signal in any case, and would otherwise be reported as failed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_at_signals() -> None:
    """End this job at SIGTERM and SIGINT before its run handles them: submitit ignores one, its parent the other."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ignore SIGINT in this process and those that the block starts.

    The terminal sends Ctrl-C to all of them, and submitit's controllers would kill their jobs one second later.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
