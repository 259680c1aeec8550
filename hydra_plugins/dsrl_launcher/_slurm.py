"""What SLURM says about jobs, asked with squeue, which needs no accounting database."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Collection

# a job in any other state has ended, or is not known any more
_ALIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("STAGE_OUT", "COMPLETING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
}
_FIRST, _LONGEST = 1.0, 30.0  # seconds between two questions: a controller serves many users


def states(ids: Collection[str]) -> dict[str, tuple[str, str]] | None:
    """Job id -> (state, reason) of those jobs that SLURM still knows; None where it does not answer."""
    bases = ",".join(sorted({one.partition("_")[0] for one in ids}))
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={bases}", "--format=%i|%T|%r"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    rows = (line.split("|", 2) for line in done.stdout.splitlines())
    return {number.strip(): (state, reason) for number, state, reason in rows if number.strip() in ids}


class Queue:
    """Asks for the states of some jobs now and then."""

    def __init__(self) -> None:
        """The first question is asked at once, later ones at growing intervals."""
        self._next, self._interval = 0.0, _FIRST
        self._gone: set[str] = set()
        self.status = ""  # e.g. "2 running, 1 pending (Resources)"

    def gone(self, ids: Collection[str]) -> set[str]:
        """Those jobs that will not run (again)."""
        if time.monotonic() >= self._next:
            found = states(ids)
            self._interval = min(1.5 * self._interval, _LONGEST)
            self._next = time.monotonic() + self._interval
            if found is not None:
                alive = {one for one, (state, _) in found.items() if state in _ALIVE}
                self._gone = set(ids) - alive
                words = Counter(_word(*found[one]) for one in sorted(alive))
                self.status = ", ".join(f"{count} {word}" for word, count in words.items())
        return self._gone & set(ids)


def _word(state: str, reason: str) -> str:
    return f"{state.lower()} ({reason})" if state == "PENDING" and reason not in ("None", "Priority") else state.lower()
