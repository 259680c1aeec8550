"""Tabulates each task on its own, in units of its own: base policy, w = 0, steered, and the way between them.

gap closed   (steered - base) / (1 - base), of successes, over the runs that have a base policy
worst dip    base - the lowest validation of any seed, at least 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsrl.evaluation.digits import fixed
from scripts.compare.runs import Run, score
from scripts.compare.statistics import Estimate, mean
from scripts.compare.tables import Table, estimated

HEAD = ("task", "runs", "base", "w = 0", "steered", "95 % interval", "gap closed", "worst dip", "confirmed")
TITLE = "Each task: final success (or mean return), mean over seeds"


@dataclass(frozen=True)
class Result:
    """The numbers of a method on a task, not rounded; None where runs have none."""

    task: str
    method: str
    runs: int
    measure: str  # success_rate or mean_return
    base: float | None
    zero_noise: float | None
    steered: float
    interval: tuple[float, float] | None  # 95 %, of steered
    gap_closed: float | None  # share
    worst_dip: float | None
    confirmed: int  # runs
    judged: int  # runs with a confirmation, of whichever outcome
    decisions: float | None
    minutes: float | None


def results(runs: Sequence[Run], names: Mapping[Any, tuple[str, str]]) -> list[Result]:
    """Return one result per task and method, in the order of the runs; `names` is path -> (method, task)."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.state == "finished":
            groups.setdefault(names[run.path], []).append(run)
    return [_result(own, method, task) for (method, task), own in groups.items()]


def by_task(found: Sequence[Result]) -> Table:
    """Return one row per result."""
    several = len({one.method for one in found}) > 1
    rows = [(f"{one.task} {one.method}" if several else one.task, *_row(one)) for one in found]
    return Table(TITLE, (*HEAD, "decisions", "minutes"), tuple(rows))


def _result(runs: Sequence[Run], method: str, task: str) -> Result:
    measure = "mean_return" if any(_final(run, "steered", "success_rate") is None for run in runs) else "success_rate"
    base, zero, steered = (_mean(_finals(runs, side, measure)) for side in ("base", "zero_noise", "steered"))
    assert steered is not None
    paired = _mean(_finals([run for run in runs if run.summary.get("base")], "steered", measure))
    lowest = [y for run in runs for point in run.curve if (y := score(point, measure)) is not None]
    gap = None if base is None or measure != "success_rate" or base.value >= 1 else 1 - base.value
    judged = [run for run in runs if run.summary.get("confirmation")]
    return Result(
        task,
        method,
        len(runs),
        measure,
        None if base is None else base.value,
        None if zero is None else zero.value,
        steered.value,
        steered.interval,
        None if gap is None or base is None or paired is None else (paired.value - base.value) / gap,
        None if base is None or not lowest else max(0.0, base.value - min(lowest)),
        sum(run.summary.get("returned") == "steered" for run in judged),
        len(judged),
        _average([run.summary.get("decisions") for run in runs]),
        _average([run.summary["wall_time_s"] / 60 for run in runs if "wall_time_s" in run.summary]),
    )


def _row(found: Result) -> tuple[str, ...]:
    return (
        str(found.runs),
        _shown(found.base, found.measure),
        _shown(found.zero_noise, found.measure),
        *estimated(Estimate(found.steered, found.interval), found.measure, decimals=1),
        "-" if found.gap_closed is None else f"{found.gap_closed:.0%}",
        _shown(found.worst_dip, found.measure),
        f"{found.confirmed} of {found.judged}" if found.judged else "-",
        "-" if found.decisions is None else f"{found.decisions:,.0f}",
        "-" if found.minutes is None else f"{found.minutes:.1f}",
    )


def _final(run: Run, side: str, measure: str) -> float | None:
    value: float | None = (run.summary.get(side) or {}).get(measure)
    return value


def _finals(runs: Sequence[Run], side: str, measure: str) -> list[float]:
    return [value for run in runs if (value := _final(run, side, measure)) is not None]


def _mean(values: Sequence[float]) -> Estimate | None:
    return mean({"": values}) if values else None


def _shown(value: float | None, measure: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if measure == "success_rate" else fixed(value, 1)


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
