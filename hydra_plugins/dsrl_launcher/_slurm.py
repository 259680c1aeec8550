"""The state of SLURM jobs, read with squeue, which needs no accounting database."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Collection

# a job in any other state is finished, and so is one that squeue does not list
_UNFINISHED = {
    *("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("STAGE_OUT", "COMPLETING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
}
_FIRST, _LONGEST = 1.0, 30.0  # seconds between two calls of squeue: a controller serves many users


def states(ids: Collection[str]) -> dict[str, tuple[str, str]] | None:
    """Return job id -> (state, reason) of the jobs that squeue lists; None where the controller does not answer."""
    bases = ",".join(sorted({one.partition("_")[0] for one in ids}))
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={bases}", "--format=%i|%T|%r"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    rows = (line.split("|", 2) for line in done.stdout.splitlines())
    return {number.strip(): (state, reason) for number, state, reason in rows if number.strip() in ids}


class Queue:
    """SLURM's queue, read at growing intervals."""

    def __init__(self) -> None:
        """Read the queue at the first call of `finished`."""
        self._next, self._interval = 0.0, _FIRST
        self._finished: set[str] = set()
        self.status = ""  # e.g. "2 running, 1 pending (Resources)"

    def finished(self, ids: Collection[str]) -> set[str]:
        """Return the ids of those jobs that will not run (again)."""
        if time.monotonic() >= self._next:
            found = states(ids)
            self._interval = min(1.5 * self._interval, _LONGEST)
            self._next = time.monotonic() + self._interval
            if found is not None:
                unfinished = {one for one, (state, _) in found.items() if state in _UNFINISHED}
                self._finished = set(ids) - unfinished
                counts = Counter(_described(*found[one]) for one in sorted(unfinished))
                self.status = ", ".join(f"{count} {state}" for state, count in counts.items())
        return self._finished & set(ids)


def _described(state: str, reason: str) -> str:
    return f"{state.lower()} ({reason})" if state == "PENDING" and reason not in ("None", "Priority") else state.lower()
