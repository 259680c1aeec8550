"""Times functions in turns: a pair is measured at one speed of the machine, so that ratios hold when it is busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Timed:
    """Seconds of several functions, one number per turn each."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return the median seconds of one function."""
        return median(self.seconds[name])

    def ratio(self, name: str, to: str) -> str:
        """Describe how many times as long `name` takes as `to`: median (smallest … largest) over the turns."""
        ratios = [one / other for one, other in zip(self.seconds[name], self.seconds[to], strict=True)]
        return f"{median(ratios):.2f} × ({min(ratios):.2f} … {max(ratios):.2f})"


def in_turns(calls: Mapping[str, Callable[[], Any]], turns: int, clock: Callable[[], float]) -> Timed:
    """Time every call once per turn, after one call of each that does not count."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            begin = clock()
            call()
            seconds[name].append(clock() - begin)
    return Timed(seconds)


def clock_of(device: str) -> Callable[[], float]:
    """Return the clock of a device: CPU seconds of this process or, for CUDA, wall seconds after all work is done."""
    if device == "cpu":
        return time.process_time
    import torch

    def finished() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return finished


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
