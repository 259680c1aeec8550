"""The numbers of a comparison as tables of words: the same rows for the terminal, Markdown, JSON and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dsrl.evaluation.digits import fixed, p_value_text, with_interval
from scripts.compare.markdown import literal
from scripts.compare.methods import Comparison, Method
from scripts.compare.run_files import one_line
from scripts.compare.runs import Run, point_at, score
from scripts.compare.statistics import Estimate, Improvement, improvement, iqm, mean, middle

LONGEST_WORD = 20  # characters up to which a word of a printed table stays whole, whatever the width
SHORTEST_LINE = 5  # characters below which no column is narrowed: w = 0 stays on one line
SECONDS_BELOW = 2.0  # minutes of the longest run below which times are in seconds
MOST_NAMES = 3  # in a warning
MOST_COMPARED = 30  # methods, the best, of which each is compared with each: of a search they are trials
FEW = 5  # seeds below which a bootstrap interval is too narrow


@dataclass(frozen=True)
class Table:
    """Rows of words, made printable: they come from run folders."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", tuple(map(one_line, self.head)))
        object.__setattr__(self, "rows", tuple(tuple(map(one_line, row)) for row in self.rows))

    def markdown(self) -> str:
        """Return a Markdown table with its title as heading."""
        lines = [self.head, tuple("---" for _ in self.head), *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(map(literal, line))} |" for line in lines) + "\n"


def scores(comparison: Comparison) -> Table:
    """Return one row per method, best first: runs, IQM and mean with their intervals, base policy and gain."""
    measure = comparison.measure
    head = ("method", "runs", "IQM", "95 % interval", "mean", "95 % interval", "base", "gain")
    rows = []
    for method in ranked(comparison):
        centre, average = iqm(method.scores(measure)), mean(method.scores(measure))
        base, gained = method.base(measure), method.gain(measure)
        words = (*estimated(centre, measure), *estimated(average, measure))
        gain = "-" if gained is None else _number(gained, measure, sign=True)
        rows.append((method.name, _counted(method), *words, "-" if base is None else _number(base, measure), gain))
    title = "Success" if measure == "success_rate" else "Mean return"
    return Table(f"{title} of the steered policy", head, tuple(rows))


def learning(comparison: Comparison, over: Literal["env_steps", "wall_time_s"]) -> Table | None:
    """Return validation scores during training, at quarters of the longest run; None without any validation.

    A run counts with its latest validation up to a mark, a method with the mean over tasks of the mean of its runs.
    """
    points = [(point_at(point, over), run) for run in comparison.runs for point in run.curve]
    ends = [end for end, run in points if end is not None and run.state == "finished"]
    if not ends:
        return None
    marks = [max(ends) * quarter / 4 for quarter in (1, 2, 3, 4)]
    if over == "env_steps":
        marks = list(map(math.ceil, marks))  # as their heads show them
    rows = []
    for method in ranked(comparison):
        rows.append((method.name, *(_mean_until(method, mark, over, comparison.measure) for mark in marks)))
    title = f"Validations during training, over {'env steps' if over == 'env_steps' else 'time'}"
    return Table(title, ("method", *(_mark(mark, over, max(ends)) for mark in marks)), tuple(rows))


def _mark(mark: float, over: str, longest: float) -> str:
    """Return the head of a column: env steps, or minutes, which are seconds where the `longest` run is short."""
    if over == "env_steps":
        return f"{mark:,.0f} env steps"
    return f"{60 * mark:.3g} s" if longest < SECONDS_BELOW else f"{mark:.1f} min"


def _mean_until(method: Method, mark: float, over: str, measure: str) -> str:
    """Return the mean of the latest validations up to a mark; tasks weigh alike, however many runs they have."""
    latest = [_latest(runs, mark, over, measure) for runs in method.runs.values()]
    reached, runs = sum(map(len, latest)), sum(map(len, method.runs.values()))
    if not reached:
        return "-"
    most = max(map(len, latest))
    weighted = [(most / len(own), y) for own in latest for y in own]
    mean = _number(sum(weight * y for weight, y in weighted) / sum(weight for weight, _ in weighted), measure)
    return mean if reached == runs else f"{mean} ({reached} of {runs} runs)"


def _latest(runs: Sequence[Run], mark: float, over: str, measure: str) -> list[float]:
    """Return the score of each run's latest validation up to a mark; a run without any has none."""
    latest = []
    for run in runs:
        reached = [(x, score(point, measure)) for point in run.curve if (x := point_at(point, over)) is not None]
        latest += [y for x, y in reached if x <= mark and y is not None][-1:]
    return latest


def improvements(comparison: Comparison) -> Table | None:
    """Return one row per pair of methods, the better-ranked first, of the best alone; None for a single method."""
    methods = ranked(comparison)[:MOST_COMPARED]
    rows = []
    for place, ours in enumerate(methods):
        for theirs in methods[place + 1 :]:
            found = improvement(ours.scores(comparison.measure), theirs.scores(comparison.measure))
            if found is not None:
                rows.append((ours.name, theirs.name, *_improvement(found)))
    head = ("a run of …", "… beats a run of", "probability", "95 % interval", "p (Mann-Whitney)")
    return Table("Probability of improvement", head, tuple(rows)) if rows else None


def all_runs(comparison: Comparison) -> Table:
    """Return one row per run: folder, method, task, seed, state and results."""
    head = ("run", "method", "task", "seed", "state", "steered", "base", "paired p", "env steps", "minutes")
    rows = []
    for run in comparison.runs:
        method, task = comparison.names[run.path]
        steered, base = (_final(run.summary, side, comparison.measure) for side in ("steered", "base"))
        minutes = f"{run.summary['wall_time_s'] / 60:.1f}" if "wall_time_s" in run.summary else "-"
        steps = str(run.summary.get("env_steps", "-"))
        who = (str(run.path), method, task, _seed(run), run.state)
        rows.append((*who, steered, base, p_value_text(run.summary), steps, minutes))
    return Table("All runs", head, tuple(rows))


def missing(runs: Sequence[Run], names: Mapping[Any, tuple[str, str]]) -> Table | None:
    """Return one row per run that is not counted, with the reason; None where all are finished."""
    left_out = [run for run in runs if run.state != "finished"]
    head = ("run", "method", "task", "seed", "state", "why")
    rows = []
    for run in left_out:
        reason = run.reason.replace(f"{run.path}/", "")  # the first column has the path
        rows.append((str(run.path), *names[run.path], _seed(run), run.state, reason))
    return Table("Not counted", head, tuple(rows)) if rows else None


def config_differences(comparison: Comparison) -> Table | None:
    """Return one row per config key that differs, with the number of runs of each value; None where none differs."""
    rows = []
    for key in comparison.differences:
        values: dict[str, list[str]] = {}
        for run in (run for run in comparison.runs if run.config):
            word = "null" if run.config.get(key, "") is None else str(run.config.get(key, "(absent)"))
            values.setdefault(word, []).append(run.path.name)
        rows.append((key, "; ".join(f"{value} ({len(runs)} runs)" for value, runs in sorted(values.items()))))
    return Table("Differences between the configs", ("key", "values"), tuple(rows)) if rows else None


def environments(comparison: Comparison) -> Table | None:
    """Return one row per distinct machine, code and package versions; None where no run recorded them."""
    seen: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in comparison.runs:
        facts: dict[str, Any] = {**run.environment, "packages": run.summary.get("packages")}
        words = tuple((str(name), _fact(value)) for name, value in sorted(facts.items()) if value is not None)
        if words:
            seen.setdefault(words, []).append(str(run.path))
    names = sorted({name for words in seen for name, _ in words})
    rows = [(f"{len(paths)}: {paths[0]}" + (" …" if len(paths) > 1 else ""),) for paths in seen.values()]
    full = [(*row, *(dict(words).get(name, "-") for name in names)) for row, words in zip(rows, seen, strict=True)]
    return Table("Environment and code", ("runs", *names), tuple(full)) if full else None


def warnings(comparison: Comparison) -> list[str]:
    """Return reasons to doubt the numbers, as sentences."""
    found = []
    few = [method.name for method in comparison.methods if min(map(len, method.runs.values())) < FEW]
    if few:
        found.append(f"Fewer than {FEW} seeds: the intervals of {_listed(few)} are likely too narrow, or missing.")
    partial = [method.name for method in comparison.methods if len(method.runs) < len(comparison.tasks)]
    if partial:
        found.append(f"Not on every task: {_listed(partial)}; their numbers are of fewer tasks than the others'.")
    if len(comparison.methods) > MOST_COMPARED:
        most = f"{MOST_COMPARED} best of {len(comparison.methods)} methods"
        found.append(f"Probabilities of improvement are of the {most}; name fewer runs to compare others.")
    some = [method.name for method in comparison.methods if len(_with_and_without_base(method)) > 1]
    if some:
        found.append(f"Not every run has a base policy: base and gain of {_listed(some)} are of those that have one.")
    if comparison.measure == "mean_return" and any(len(method.runs) > 1 for method in comparison.methods):
        found.append("Returns of several tasks are averaged, whose units may differ; --by-task has a row for each.")
    packages = {repr(run.summary.get("packages")) for run in comparison.runs if run.state == "finished"}
    commits = {repr(run.environment.get("git_commit")) for run in comparison.runs if run.environment}
    if len(packages) > 1 or len(commits) > 1:
        found.append("Not all runs come from the same code and package versions; see Environment and code.")
    changed = [run.path.name for run in comparison.runs if run.environment.get("git_changed")]
    if changed:
        found.append(f"{len(changed)} runs come from a work tree with changes that were not committed.")
    damaged = [run.path.name for run in comparison.runs if run.state == "damaged"]
    if damaged:
        found.append(f"Left out because a file is damaged: {_listed(damaged)}; see Not counted.")
    return found


def ranked(comparison: Comparison) -> list[Method]:
    """Return the methods, best IQM first."""
    return sorted(comparison.methods, key=lambda method: -middle(method.scores(comparison.measure)))


def _with_and_without_base(method: Method) -> set[bool]:
    return {bool(run.summary.get("base")) for runs in method.runs.values() for run in runs}


def _counted(method: Method) -> str:
    counts = [len(runs) for runs in method.runs.values()]
    return str(counts[0]) if len(counts) == 1 else f"{sum(counts)} on {len(counts)} tasks"


def _number(value: float, measure: str, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return format(value, f"{plus}.1%") if measure == "success_rate" else fixed(value, 2, plus)


def estimated(estimate: Estimate, measure: str, decimals: int = 2) -> tuple[str, str]:
    """Return a mean and its interval in words: percent, or a return with that many decimals or more."""
    if measure != "success_rate":
        return with_interval(estimate.value, estimate.interval, decimals)
    ends = [] if estimate.interval is None else [f"{end:.1%}" for end in estimate.interval]
    return f"{estimate.value:.1%}", " … ".join(ends) or "-"


def _improvement(found: Improvement) -> tuple[str, str, str]:
    interval = "-" if found.interval is None else "{:.2f} … {:.2f}".format(*found.interval)
    several = len(found.p_value) > 1
    p_values = [f"{task} {p:.3g}" if several else f"{p:.3g}" for task, p in found.p_value.items()]
    return f"{found.probability:.2f}", interval, ", ".join(p_values)


def _final(summary: Any, side: str, measure: str) -> str:
    value = (summary.get(side) or {}).get(measure)
    return "-" if value is None else _number(value, measure)


def _seed(run: Run) -> str:
    return str(run.seed) if run.config else "-"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _listed(names: Sequence[str]) -> str:
    """Name the first of those that a warning is about."""
    shown = ", ".join(map(one_line, names[:MOST_NAMES]))
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def rich_table(table: Table, room: int | None = None) -> Any:
    """Return the table for a terminal; its words are literal, without rich's markup.

    Without a terminal to fit, `room` characters suffice unless words need more: see `_widths`.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    widths = [None] * len(table.head) if room is None else _widths(table, room)
    for head, width in zip(table.head, widths, strict=True):
        shown.add_column(head, overflow="fold", width=width)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _widths(table: Table, room: int) -> list[int]:
    """Return the widths of the columns, the widest narrowed first until the table fits into `room` characters.

    No column is narrower than its words, of which those above `LONGEST_WORD`, as paths are, may break; a table whose
    words need more is wider.
    """
    columns = [[head, *(row[place] for row in table.rows)] for place, head in enumerate(table.head)]
    widest = [max(map(len, column)) for column in columns]
    words = [max((len(word) for cell in column for word in cell.split()), default=1) for column in columns]
    lowest = [max(min(word, LONGEST_WORD), min(own, SHORTEST_LINE)) for word, own in zip(words, widest, strict=True)]
    for limit in range(max(widest), 0, -1):
        widths = [max(low, min(own, limit)) for low, own in zip(lowest, widest, strict=True)]
        if sum(widths) + len(widths) + 1 <= room:  # a blank beside each column
            return widths
    return lowest
