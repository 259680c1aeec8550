"""Sorts runs into methods: a method is a difference between configs, apart from the seed and the task.

Runs of equal configs are of several methods where the policy or the recorded data that they name differ.

Where `method=…` was typed, that word is the name, followed by keys that vary among its own runs. Keys that only exist
because another group was chosen add nothing: between `sac=dsrl_sac` and `sac=dsrl_na` the difference is that word;
`sac.alpha` is a difference where it varies among runs of one choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsrl.run.config.description import OF_NO_RESULT
from scripts.compare.contents import by_contents
from scripts.compare.labels import Word, labels, shortened
from scripts.compare.runs import Run

TASK_KEYS = ("task.env", "task.suite", "task.name", "task.id")  # keys that say which task of a benchmark it is

DRAWN = re.compile(r"-?\d+\.\d{12,}(e[+-]?\d+)?")  # a number with so many decimals; what somebody types is shorter

NO_NAMES = ("-", "-")  # method and task of a run without a readable config

_Choices = tuple[str | None, str | None] | None


@dataclass(frozen=True)
class Method:
    """Runs that differ by seed alone, grouped by task."""

    name: str
    runs: Mapping[str, tuple[Run, ...]]  # task -> its finished runs

    def scores(self, measure: str) -> dict[str, list[float]]:
        """Return task -> one final score per seed; `measure` is success_rate or mean_return."""
        return {task: [run.summary["steered"][measure] for run in runs] for task, runs in self.runs.items()}

    def base(self, measure: str) -> float | None:
        """Return the base policy's score on the same worlds, averaged over tasks; None without a base policy."""
        return self._with_base("base", measure)

    def gain(self, measure: str) -> float | None:
        """Return steered minus base, both of the runs that have a base and averaged over tasks; None without any."""
        steered, base = self._with_base("steered", measure), self._with_base("base", measure)
        return None if steered is None or base is None else steered - base

    def _with_base(self, side: str, measure: str) -> float | None:
        """Return the mean over tasks of the mean over the runs that have a base policy; None without such a run."""
        own = [[run.summary[side][measure] for run in runs if run.summary.get("base")] for runs in self.runs.values()]
        means = [sum(scores) / len(scores) for scores in own if scores]
        return sum(means) / len(means) if means else None


@dataclass(frozen=True)
class Comparison:
    """All runs, sorted into methods and tasks."""

    runs: tuple[Run, ...]
    methods: tuple[Method, ...]  # in the order of their names
    names: Mapping[Any, tuple[str, str]]  # path of a run -> (method, task)
    differences: tuple[str, ...]  # config keys whose values differ at all
    measure: str  # success_rate, or mean_return where the tasks define no success

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of all methods."""
        return tuple(sorted({task for method in self.methods for task in method.runs}))


def group(runs: Sequence[Run], measure: str | None = None) -> Comparison:
    """Sort runs into methods; of several finished runs of one method, task and seed only the latest counts.

    Runs without a readable config take no part in the grouping. Raises ValueError where no run is finished, or where
    they have no measure in common.
    """
    names, runs = named(runs)
    readable = [run for run in runs if run.config]
    finished = [run for run in runs if run.state == "finished"]
    return Comparison(
        runs=tuple(runs),
        methods=tuple(_methods(finished, names)),
        names=names,
        differences=tuple(sorted({key for _, key in _varying(readable, {}) if not _ignored(key)})),
        measure=_measure(finished, measure),
    )


def named(runs: Sequence[Run]) -> tuple[dict[Any, tuple[str, str]], list[Run]]:
    """Return path -> (method, task) of all runs, and the runs with those that are repeated later superseded.

    Raises ValueError where no run is finished.
    """
    readable = [run for run in runs if run.config]
    tasks = _task_names(readable)
    keys = _method_keys(readable, tasks)
    names: dict[Any, tuple[str, str]] = dict.fromkeys((run.path for run in runs), NO_NAMES)
    words = by_contents({run.path: _words(run, keys, readable, tasks) for run in readable}, readable, tasks)
    shown = labels(words.values())
    names |= {path: (shown[own], tasks[path]) for path, own in words.items()}
    runs = _latest(runs, names)
    if not any(run.state == "finished" for run in runs):
        reasons = "; ".join(f"{run.path} is {run.state} ({run.reason})" for run in runs)
        raise ValueError(f"none of {len(runs)} runs is finished, so that there is nothing to compare: {reasons}")
    return names, runs


def _methods(finished: Sequence[Run], names: Mapping[Any, tuple[str, str]]) -> Iterable[Method]:
    for name in sorted({names[run.path][0] for run in finished}):
        by_task: dict[str, tuple[Run, ...]] = {}
        for run in finished:
            own, task = names[run.path]
            if own == name:
                by_task[task] = (*by_task.get(task, ()), run)
        yield Method(name, dict(sorted(by_task.items())))


def _task_names(runs: Sequence[Run]) -> dict[Any, str]:
    """Return the words for each run's task: its choice of suite or task, or what tells those apart that share it."""
    told: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        found = told.setdefault(run.choices.get("task", "task"), {key: set() for key in TASK_KEYS})
        for key in TASK_KEYS:
            found[key].add(repr(run.config.get(key)))
    tasks = {}
    texts = {}
    for run in runs:
        word = run.choices.get("task", "task")
        values = [run.config.get(key) for key in TASK_KEYS if len(told[word][key]) > 1]
        suite = run.choices.get("suite")
        task = (word, *map(repr, values)) if suite is None else (suite,)
        tasks[run.path] = task
        texts[task] = suite if suite is not None else " ".join(map(str, values)) or word
    names = shortened(texts, 60)
    return {path: names[task] for path, task in tasks.items()}


def _method_keys(runs: Sequence[Run], tasks: Mapping[Any, str]) -> set[tuple[_Choices, str]]:
    """Return (choice, key) of all keys that vary among runs of the same task, method and choice of the key's group."""
    return {(choice, key) for choice, key in _varying(runs, tasks) if not _ignored(key) and key not in TASK_KEYS}


def _varying(runs: Sequence[Run], tasks: Mapping[Any, str]) -> set[tuple[_Choices, str]]:
    values: dict[tuple[_Choices, str, str | None], set[str]] = {}
    keys = {key for run in runs for key in run.config}
    for run in runs:
        for key in keys:
            choice = _choices(run, key) if tasks else None
            value = repr(run.config[key]) if key in run.config else "absent"
            values.setdefault((choice, key, tasks.get(run.path)), set()).add(value)
    return {(choice, key) for (choice, key, _), found in values.items() if len(found) > 1}


def _choices(run: Run, key: str) -> _Choices:
    """Return the method and the choice of the key's group: values of a key are compared among runs that share both."""
    group_name, dot, _ = key.partition(".")
    return run.choices.get("method"), run.choices.get(group_name) if dot else None


def _ignored(key: str) -> bool:
    return key == "seed" or key.partition(".")[0] in OF_NO_RESULT


def _words(
    run: Run, keys: set[tuple[_Choices, str]], runs: Sequence[Run], tasks: Mapping[Any, str]
) -> tuple[Word, ...]:
    """Return a run's differences from the others, whole: runs are of one method where these are equal."""
    method = run.choices.get("method")
    alike = [other for other in runs if _alike(run, other, tasks)]
    groups = sorted(name for name in run.choices if name not in ("task", "suite", "method") and not _ignored(name))
    chosen = [name for name in groups if len({other.choices.get(name) for other in alike}) > 1]
    words = [] if method is None else [Word("", repr(method), method)]
    words += [Word(name, repr(run.choices[name]), run.choices[name]) for name in chosen]
    own = sorted(key for choices, key in keys if key in run.config and choices == _choices(run, key))
    words += [Word(key, repr(run.config[key]), _text(run.config[key])) for key in own]
    sac = run.choices.get("sac", "unknown")
    return tuple(words) or (Word("sac", repr(sac), sac),)


def _alike(one: Run, other: Run, tasks: Mapping[Any, str]) -> bool:
    """Return whether the choices of two runs are compared: a task of the suite brings choices of its own."""
    same_suite = one.choices.get("suite") == other.choices.get("suite")
    same_task = tasks[one.path] == tasks[other.path]  # a task that is played outside its suite too
    return one.choices.get("method") == other.choices.get("method") and (same_suite or same_task)


def _text(value: Any) -> str:
    """Return a value as it is typed; a number that a search drew has 6 digits, and all of them in the run's folder."""
    if isinstance(value, float) and DRAWN.fullmatch(str(value)):
        return f"{value:.6g}"
    return "null" if value is None else str(value)


def _latest(runs: Sequence[Run], names: Mapping[Any, tuple[str, str]]) -> list[Run]:
    """Return the same runs; a finished one that a later one repeats is superseded: both are one sample, not two."""
    latest: dict[tuple[tuple[str, str], str], Run] = {}
    finished = [run for run in runs if run.state == "finished"]
    for run in sorted(finished, key=lambda run: run.end_time_s):
        latest[names[run.path], repr(run.seed)] = run
    kept = {run.path: run for run in latest.values()}
    result = []
    for run in runs:
        if run.state == "finished" and run.path not in kept:
            by = latest[names[run.path], repr(run.seed)].path
            run = replace(run, state="superseded", reason=f"same method, task and seed as the later {by}")
        result.append(run)
    return result


def _measure(finished: Sequence[Run], requested: str | None) -> str:
    with_success = [run for run in finished if run.summary["steered"]["success_rate"] is not None]
    if requested == "mean_return" or (requested is None and not with_success):
        return "mean_return"
    if not with_success:
        raise ValueError(
            f"--measure success_rate but none of {len(finished)} finished runs has a success rate; "
            "type --measure mean_return"
        )
    if len(with_success) < len(finished):
        without = next(run for run in finished if run not in with_success)
        raise ValueError(
            f"{without.path} has no success rate, unlike {len(with_success)} of {len(finished)} finished runs; "
            "leave it out, or compare returns with --measure mean_return"
        )
    return "success_rate"
