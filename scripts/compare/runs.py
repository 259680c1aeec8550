"""Reads run folders: configuration, state, final scores and validation curve of each run.

<run>/.hydra/{config,hydra}.yaml   summary.json   metrics.jsonl   environment.json   failure.txt   base_vs_steered.mp4
<run>/failure.txt   alone: of a run that failed before it began
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from dsrl.run.config.description import OF_NO_RESULT
from dsrl.run.config.settings import TYPES
from dsrl.run.config.worlds import EVALUATIONS, at_most_once
from dsrl.run.saved.digests import same
from dsrl.run.saved.folder_checks import check_entries
from dsrl.run.saved.globs import matches
from dsrl.run.saved.own_summary import outdated
from dsrl.run.terminal.ranges import shown
from scripts.compare.run_files import HIGHEST, DamagedError, is_number, one_line, read_json, read_rows, read_yaml

MOST_POINTS = 100_000  # validations of a run; the report stores no other row
LINKED = "it is a link that leads out of the typed folder; type its own path to compare it"
State = Literal["finished", "failed", "unfinished", "superseded", "damaged"]


@dataclass(frozen=True)
class Point:
    """A validation during training."""

    env_steps: float
    wall_time_s: float | None  # since training began; None in folders without times
    success: float | None
    mean_return: float


@dataclass(frozen=True)
class Run:
    """One run as read from its folder."""

    path: Path
    state: State
    reason: str = ""  # why it does not count; "" for a finished run
    config: Mapping[str, Any] = field(default_factory=dict)  # flat: sac.alpha -> 0.1; empty where it is damaged
    choices: Mapping[str, str] = field(default_factory=dict)  # group -> choice: sac -> dsrl_sac
    overrides: tuple[str, ...] = ()  # as typed
    summary: Mapping[str, Any] = field(default_factory=dict)  # empty unless it has finished
    environment: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()

    @property
    def seed(self) -> Any:
        """The seed of networks, exploration and training worlds."""
        return self.config.get("seed")

    @property
    def end_time_s(self) -> float:
        """When a finished run ended, in seconds since 1970; of earlier versions, when its summary was last written."""
        noted: float | None = self.summary.get("end_time_s")
        return (self.path / "summary.json").stat().st_mtime if noted is None else noted

    @property
    def video(self) -> Path | None:
        """The video of base and steered policy; None without one. A link is not followed: it may leave the folder."""
        path = self.path / "base_vs_steered.mp4"
        return path if path.is_file() and not path.is_symlink() else None


def point_at(point: Point, over: str) -> float | None:
    """Return the x of a validation: `env_steps`, or minutes for `wall_time_s`; None where it is unknown."""
    if over == "env_steps":
        return point.env_steps
    return None if point.wall_time_s is None else point.wall_time_s / 60


def score(point: Point, measure: str) -> float | None:
    """Return the success_rate or mean_return of a validation."""
    return point.success if measure == "success_rate" else point.mean_return


def gather(patterns: Sequence[str]) -> list[Run]:
    """Return the runs in and below all matching folders, in the order of their paths.

    A folder that a link leads out of a pattern's fixed part is named and not read.
    Raises ValueError for a pattern that matches no run.
    """
    folders: set[Path] = set()
    linked: set[Path] = set()
    for pattern in patterns:
        named = os.path.isdir(pattern)  # a folder's name may have brackets
        inside, outside = ([pattern], []) if named else matches(pattern)
        below = {found for match in inside for found in _folders(Path(match))}
        if not below and not outside:
            raise ValueError(
                f"{pattern} matches no folder of a run (one with .hydra/config.yaml or failure.txt); "
                "type for example 'multirun/2026-01-31/12-00-00'"
            )
        folders |= below
        linked |= set(map(Path, outside))
    order = sorted(folders | linked, key=_natural)
    return [read(folder) if folder in folders else Run(folder, "damaged", LINKED) for folder in order]


def read(folder: Path) -> Run:
    """Return the run in `folder`; any damaged file makes its state "damaged", with the file named in `reason`.

    So does a link that leads out of it: a report is shared, and what it leads to may be private.
    """
    run = Run(folder, "damaged")
    try:
        _check_entries(folder)
        if not os.path.lexists(folder / ".hydra" / "config.yaml"):  # it failed before it began
            return replace(run, state="failed", reason=_failure(folder) or "no message")
        config = _flat(read_yaml(folder / ".hydra" / "config.yaml", dict) or {})
        if not config:
            raise DamagedError(f"{folder / '.hydra' / 'config.yaml'} is damaged: it is empty")
        choices, overrides = _choices(folder, config), read_yaml(folder / ".hydra" / "overrides.yaml", list) or ()
        run = replace(run, config=config, choices=choices, overrides=tuple(map(str, overrides)))
        run = replace(run, environment=read_json(folder / "environment.json"))
        curve, decisions = _progress(folder / "metrics.jsonl")
        run = replace(run, curve=curve)
        summary = read_json(folder / "summary.json")
        if not summary:
            state, reason = _without_summary(folder, decisions)
            return replace(run, state=state, reason=reason)
        _check_summary(folder / "summary.json", summary)
        stopped = outdated(folder, summary) or _of_other_values(summary, config)
        if stopped is not None:
            return replace(run, state="unfinished", reason=one_line(stopped))
        return replace(run, state="finished", summary=summary)
    except DamagedError as error:
        return replace(run, reason=one_line(str(error)))


def _check_entries(folder: Path) -> None:
    try:
        check_entries(folder)
    except OSError as error:
        raise DamagedError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedError(str(error)) from error


def _folders(match: Path) -> Iterator[Path]:
    for config in match.rglob(".hydra/config.yaml"):
        yield config.parent.parent
    for failure in match.rglob("failure.txt"):
        yield failure.parent


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts job 10 after job 9."""
    return [(0, int(part), "") if part.isdecimal() and len(part) < 20 else (1, 0, part) for part in path.parts]


def _without_summary(folder: Path, decisions: float) -> tuple[State, str]:
    failure, metrics = _failure(folder), folder / "metrics.jsonl"
    if failure is not None:
        return "failed", failure or "no message"
    if not metrics.is_file():
        return "unfinished", "no metrics yet"
    minutes = (time.time() - metrics.stat().st_mtime) / 60
    return "unfinished", f"{decisions:.0f} decisions taken, last metrics {_ago(minutes)}"


def _of_other_values(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Return a sentence where a summary's results are of other values than the `config` has, else None.

    A continuation writes its config when it begins and its summary when it ends: it was stopped between them. Of more
    episodes than the task has worlds, a run plays each world once. Of a component's options numbers alone are compared:
    the rest may be written in other ways.
    """
    requested: Any = summary.get("requested")
    num = summary.get("num_worlds")
    num_worlds = num if isinstance(num, int) else None
    for key in sorted(config.keys() & requested.keys() - OF_NO_RESULT) if isinstance(requested, dict) else ():
        before, now = requested[key], config[key]
        refers = isinstance(now, str) and "${" in now
        if refers or (key not in TYPES and not (is_number(before) and is_number(now))):
            continue
        played = at_most_once(now, num_worlds) if key in EVALUATIONS and is_number(now) else now
        if not same(before, played):
            return f"summary.json is of {key}={shown(before)}, a continuation with {key}={shown(now)} has not finished"
    return None


def _failure(folder: Path) -> str | None:
    """Return the sentence of a failed run; None for one that has not failed."""
    path = folder / "failure.txt"
    if not path.is_file():
        return None
    try:
        with path.open(errors="replace", encoding="utf-8") as file:
            return one_line(file.readline(10_000))
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}") from error


def _ago(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days ago"


def _progress(path: Path) -> tuple[tuple[Point, ...], float]:
    """Return the validations in a metrics.jsonl, and the most decisions of any row; other rows are not stored."""
    points: list[Point] = []
    decisions = 0.0
    for row in read_rows(path):
        if is_number(row.get("decisions")):
            decisions = max(decisions, row["decisions"])
        if "eval/mean_return" in row:
            points.append(_point(path, row))
        if len(points) > MOST_POINTS:
            raise DamagedError(f"{path} is damaged: it has more than {MOST_POINTS} validations")
    return tuple(points), decisions


def _point(path: Path, row: Mapping[str, Any]) -> Point:
    success, seconds = row.get("eval/success_rate"), row.get("wall_time_s")
    numbers = {"env_steps": row.get("env_steps"), "eval/mean_return": row["eval/mean_return"]}
    numbers |= {} if success is None else {"eval/success_rate": success}
    numbers |= {} if seconds is None else {"wall_time_s": seconds}
    _check_numbers(path, numbers)
    return Point(row["env_steps"], seconds, success, row["eval/mean_return"])


def _check_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Raise DamagedError where a number that is compared is missing or of no such size."""
    counts = ("env_steps", "decisions", "wall_time_s", "end_time_s")
    numbers = {key: summary[key] for key in counts if key in summary}
    for side in ("steered", "base", "zero_noise"):
        scores = summary.get(side)
        if scores is None and side != "steered":
            continue
        if not isinstance(scores, dict):
            raise DamagedError(f"{path} is damaged: it has no {side} scores")
        numbers[f"{side}.mean_return"] = scores.get("mean_return")
        if "success_rate" not in scores or scores["success_rate"] is not None:
            numbers[f"{side}.success_rate"] = scores.get("success_rate")
        if scores.get("success_rate") is None and summary["steered"].get("success_rate") is not None:
            raise DamagedError(f"{path} is damaged: steered has a success rate and {side} has none")
    for test in ("paired", "unpaired"):
        found = summary.get(test)
        if found is not None:
            numbers[f"{test}.p_value"] = found.get("p_value") if isinstance(found, dict) else None
    _check_numbers(path, numbers)


def _check_numbers(path: Path, numbers: Mapping[str, Any]) -> None:
    """Raise DamagedError for a value that is no number of a size that is compared."""
    for name, value in numbers.items():
        if not is_number(value):
            raise DamagedError(f"{path} is damaged: {name} is no finite number of at most {HIGHEST:g}")
        if name.endswith(("success_rate", "p_value")) and not 0 <= value <= 1:
            raise DamagedError(f"{path} is damaged: {name} is {value:g}, and not between 0 and 1")


def _choices(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the choice of each group from hydra.yaml; where it is missing there, the module that was built."""
    groups = {key.partition(".")[0] for key in config if "." in key}
    built = {group: str(config.get(f"{group}._target_", group)).split(".")[-2:][0] for group in groups}
    path = folder / ".hydra" / "hydra.yaml"
    found: Any = read_yaml(path, dict) or {}
    for key in ("hydra", "runtime", "choices"):
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise DamagedError(f"{path} is damaged: {key} is no mapping")
    choices = {group: str(found.get(group, built[group])) for group in sorted(groups)}
    chosen = {group: str(found.get(group)) for group in ("method", "suite")}
    return choices | {group: choice for group, choice in chosen.items() if choice not in ("None", "null")}


def _flat(node: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config as one level of dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat
