"""What a run folder says about its run: configuration, state, final figures and validation curve.

<run>/.hydra/{config,hydra}.yaml   summary.json   metrics.jsonl   environment.json   failure.txt   base_vs_steered.mp4
"""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

State = Literal["finished", "failed", "unfinished", "superseded"]


@dataclass(frozen=True)
class Point:
    """A validation during training."""

    env_steps: float
    wall_time_s: float | None  # since training began; None in folders that do not say
    success: float | None
    mean_return: float


@dataclass(frozen=True)
class Run:
    """One run as its folder tells it."""

    path: Path
    config: Mapping[str, Any]  # flat: sac.alpha -> 0.1
    choices: Mapping[str, str]  # group -> choice: sac -> dsrl_sac
    overrides: tuple[str, ...]  # what was typed
    state: State
    reason: str  # why it is not finished; "" where it is
    summary: Mapping[str, Any]  # empty where it is not finished
    environment: Mapping[str, Any]
    curve: tuple[Point, ...]

    @property
    def seed(self) -> Any:
        """The seed of networks, exploration and training worlds."""
        return self.config.get("seed")

    @property
    def video(self) -> Path | None:
        """The film of base and steered policy, where there is one."""
        path = self.path / "base_vs_steered.mp4"
        return path if path.is_file() else None


def point_at(point: Point, over: str) -> float | None:
    """Where a validation lies: `env_steps`, or minutes for `wall_time_s`; None where it is not known."""
    if over == "env_steps":
        return point.env_steps
    return None if point.wall_time_s is None else point.wall_time_s / 60


def score(point: Point, measure: str) -> float | None:
    """The success_rate or mean_return of a validation."""
    return point.success if measure == "success_rate" else point.mean_return


def gather(patterns: Sequence[str]) -> list[Run]:
    """The runs in and below all folders that match, in the order of their paths.

    Raises ValueError for a pattern under which there is no run.
    """
    folders: set[Path] = set()
    for pattern in patterns:
        below = {found for match in glob.glob(pattern) for found in _folders(Path(match))}
        if not below:
            raise ValueError(
                f"{pattern} matches no folder of a run (one with .hydra/config.yaml); "
                "type for example 'multirun/2026-01-31/12-00-00'"
            )
        folders |= below
    return [read(folder) for folder in sorted(folders, key=_natural)]


def read(folder: Path) -> Run:
    """What `folder` says; a damaged file makes its run a failed one, with the file named."""
    state: State = "finished"
    summary, reason = _json(folder / "summary.json")
    if reason:
        state = "failed"
    elif not summary:
        state, reason = _without_summary(folder)
    config = _flat(_yaml(folder / ".hydra" / "config.yaml"))
    curve, damage = _curve(folder / "metrics.jsonl")
    if damage and state == "finished":
        state, reason = "failed", damage
    return Run(
        path=folder,
        config=config,
        choices=_choices(folder, config),
        overrides=tuple(map(str, _yaml(folder / ".hydra" / "overrides.yaml") or ())),
        state=state,
        reason=reason,
        summary=summary,
        environment=_json(folder / "environment.json")[0],
        curve=curve,
    )


def _folders(match: Path) -> Iterator[Path]:
    for config in match.rglob(".hydra/config.yaml"):
        yield config.parent.parent


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Job 10 after job 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in path.parts]


def _without_summary(folder: Path) -> tuple[State, str]:
    failure = folder / "failure.txt"
    if failure.is_file():
        lines = failure.read_text(errors="replace").strip().splitlines() or ["no message"]
        return "failed", lines[0]
    metrics = folder / "metrics.jsonl"
    if not metrics.is_file():
        return "unfinished", "no metrics yet"
    minutes = (time.time() - metrics.stat().st_mtime) / 60
    lines = [line for line in metrics.read_text(errors="replace").splitlines() if line.endswith("}")]
    decisions = max((json.loads(line).get("decisions", 0) for line in lines), default=0)
    return "unfinished", f"{decisions:.0f} decisions taken, last figures {_ago(minutes)}"


def _ago(minutes: float) -> str:
    if minutes < 90:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days ago"


def _curve(path: Path) -> tuple[tuple[Point, ...], str]:
    """The validations in a metrics.jsonl; a half-written last line is what a kill leaves, any other is damage."""
    points: list[Point] = []
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            return tuple(points), "" if number == len(lines) else f"{path} is damaged in line {number}"
        if "eval/mean_return" in row:
            success, seconds = row.get("eval/success_rate"), row.get("wall_time_s")
            points.append(Point(row["env_steps"], seconds, success, row["eval/mean_return"]))
    return tuple(points), ""


def _json(path: Path) -> tuple[Mapping[str, Any], str]:
    if not path.is_file():
        return {}, ""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        return {}, f"{path} is damaged: {error}"
    return (content, "") if isinstance(content, dict) else ({}, f"{path} is damaged: no JSON object")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else None


def _choices(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The word typed for each group; where Hydra did not note it, the module that was built."""
    groups = {key.partition(".")[0] for key in config if "." in key}
    built = {group: str(config.get(f"{group}._target_", group)).split(".")[-2:][0] for group in groups}
    hydra = (_yaml(folder / ".hydra" / "hydra.yaml") or {}).get("hydra", {})
    noted = hydra.get("runtime", {}).get("choices", {})
    choices = {group: str(noted.get(group, built[group])) for group in sorted(groups)}
    method = noted.get("method")
    return choices if method in (None, "null") else {**choices, "method": str(method)}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in (node or {}).items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat
