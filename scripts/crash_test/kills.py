"""Kills runs (SIGKILL) at many places, lets them finish, and counts the kills by place.

starting | running | checkpoint        a run goes on from its newest checkpoint, and is killed at the next place
evaluation | confirmation | curve | video | summary        after training: each time from the last checkpoint
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from multiprocessing.context import ForkProcess

from scripts.crash_test.runs import LostError, Run, wait

TRAINING = ("starting", "running", "checkpoint")
PHASES = {  # the beginning of a line of train.log -> the place that it announces
    "training for": "running",
    "steered policy (best checkpoint)": "evaluation",
    "confirming that": "confirmation",
    "recording a video": "video",
}
FILES = {"curve": "learning_curve.png", "video": "base_vs_steered.mp4", "summary": "summary.json"}
"""Place -> the file that is written there."""
EVENTS = ("open", "os.rename")  # before the partial file is opened, and before it takes the file's place


def kill(run: Run, kills: int, interval: float, rng: random.Random, total: Counter[str]) -> str:
    """Start and kill the run repeatedly, then let it finish; returns and adds to `total` the kills by place.

    Only kills of a living process count. `interval` is the time between two validations (s): each process of training
    lives for two of them at most.
    """
    died: Counter[str] = Counter()
    for place in _places(run, kills):
        process = _started_until(run, place, interval, rng)
        ended = not process.is_alive()
        process.kill()
        process.join()
        if ended and process.exitcode == 0:
            break  # it was faster than the kill
        if ended and process.exitcode != -signal.SIGKILL:
            raise LostError(f"the run ended with exit code {process.exitcode}; see {run.output}")
        died[_reached(run, place)] += 1
    total.update(died)
    if run.finish():
        raise LostError(f"the run does not go on; see {run.output}")
    return by_place(died)


def by_place(died: Counter[str]) -> str:
    """Return the numbers of kills in one line."""
    return ", ".join(f"{number} in {place}" for place, number in died.items())


def _places(run: Run, kills: int) -> Iterator[str]:
    """Yield the places of one run: in training first, then after it."""
    late = min(2 * len(run.small.late), kills)
    yield from islice(cycle(TRAINING), kills - late)
    yield from islice(cycle(run.small.late), late)


def _started_until(run: Run, place: str, interval: float, rng: random.Random) -> ForkProcess:
    """Return a process that has reached a place, or has died there; in training, each gets further than the last.

    A start is over when the first checkpoint is written.
    """
    before, pause = run.checkpoints(), rng.uniform(0.0, 1.0)
    if place in FILES and (place != "video" or rng.random() < 0.5):
        process = run.start(killed_at=(rng.choice(EVENTS), FILES[place]))
        process.join()
        return process
    process, begin = run.start(), time.monotonic()
    if place == "starting":
        wait(process, lambda: time.monotonic() > begin + run.small.starting_s * pause or run.checkpoints() != before)
    elif place in TRAINING:
        wait(process, lambda: run.checkpoints() != before)
        time.sleep(interval * pause)
        if place == "checkpoint":
            wait(process, run.is_writing, pause=0.0)
    else:
        wait(process, lambda: run.phase(PHASES) == place)
        time.sleep(run.small.phase_s * pause)
    return process


def _reached(run: Run, place: str) -> str:
    """Return the place where the run died, which may be another one than it was waited for."""
    if place == "starting" or place in FILES:
        return place
    if place in TRAINING and run.is_writing():
        return "checkpoint"
    return run.phase(PHASES) or "running"
