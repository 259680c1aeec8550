"""Tabulates each task on its own, in units of its own: base policy, w = 0, steered, and the way between them.

gap closed   (steered - base) / (1 - base), of successes, over the runs that have a base policy
worst dip    base - the lowest validation of any seed, at least 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.compare.runs import Run, score
from scripts.compare.statistics import Estimate, mean
from scripts.compare.tables import Table

HEAD = ("task", "runs", "base", "w = 0", "steered", "95 % interval", "gap closed", "worst dip", "confirmed")
TITLE = "Each task: final success (or mean return), mean over seeds"


def by_task(runs: Sequence[Run], names: Mapping[Any, tuple[str, str]]) -> Table:
    """Return one row per task and method, in the order of the runs; `names` is path -> (method, task)."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.state == "finished":
            groups.setdefault(names[run.path], []).append(run)
    several = len({method for method, _ in groups}) > 1
    rows = []
    for (method, task), own in groups.items():
        rows.append((f"{task} {method}" if several else task, *_row(own)))
    return Table(TITLE, (*HEAD, "decisions", "minutes"), tuple(rows))


def _row(runs: Sequence[Run]) -> tuple[str, ...]:
    measure = "mean_return" if any(_final(run, "steered", "success_rate") is None for run in runs) else "success_rate"
    base, zero, steered = (_mean(_finals(runs, side, measure)) for side in ("base", "zero_noise", "steered"))
    assert steered is not None
    paired = _mean(_finals([run for run in runs if run.summary.get("base")], "steered", measure))
    lowest = [y for run in runs for point in run.curve if (y := score(point, measure)) is not None]
    gap = None if base is None or measure != "success_rate" or base.value >= 1 else 1 - base.value
    dip = None if base is None or not lowest else max(0.0, base.value - min(lowest))
    judged = [run for run in runs if run.summary.get("confirmation")]
    return (
        str(len(runs)),
        _shown(None if base is None else base.value, measure),
        _shown(None if zero is None else zero.value, measure),
        _shown(steered.value, measure),
        _interval(steered, measure),
        "-" if gap is None or base is None or paired is None else f"{(paired.value - base.value) / gap:.0%}",
        _shown(dip, measure),
        f"{sum(run.summary.get('returned') == 'steered' for run in judged)} of {len(judged)}" if judged else "-",
        _average([run.summary.get("decisions") for run in runs], ",.0f"),
        _average([run.summary["wall_time_s"] / 60 for run in runs if "wall_time_s" in run.summary], ".1f"),
    )


def _final(run: Run, side: str, measure: str) -> float | None:
    value: float | None = (run.summary.get(side) or {}).get(measure)
    return value


def _finals(runs: Sequence[Run], side: str, measure: str) -> list[float]:
    return [value for run in runs if (value := _final(run, side, measure)) is not None]


def _mean(values: Sequence[float]) -> Estimate | None:
    return mean({"": values}) if values else None


def _shown(value: float | None, measure: str) -> str:
    return "-" if value is None else format(value, ".1%" if measure == "success_rate" else ".1f")


def _interval(estimate: Estimate, measure: str) -> str:
    return "-" if estimate.interval is None else " … ".join(_shown(end, measure) for end in estimate.interval)


def _average(values: Sequence[float | None], spec: str) -> str:
    known = [value for value in values if value is not None]
    return format(sum(known) / len(known), spec) if known else "-"
