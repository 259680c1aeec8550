"""Fits a run to a task whose worlds repeat: a world that is played again is no further evidence.

A deterministic policy repeats its outcome in a world, so that intervals and tests over more episodes than worlds would
claim more than was seen. No evaluation plays a world twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from dsrl.interfaces import Task
from dsrl.run.config.settings import Settings
from dsrl.run.config.worlds import EVALUATIONS, at_most_once


@runtime_checkable
class FewWorlds(Protocol):
    """A task whose worlds repeat: seeds that are equal modulo `num_worlds` start the same world (optional)."""

    num_worlds: int | None  # None: every seed is another world
    other_worlds: str  # what to type for further worlds, such as "type task.id=1 for another task"


def num_worlds(task: Task) -> int | None:
    """Return how many different worlds a task has; None where every seed is another one."""
    return task.num_worlds if isinstance(task, FewWorlds) else None


def fitted(settings: Settings, task: Task, announce: Callable[[str], None]) -> Settings:
    """Return the settings with no more episodes than worlds, and announce it where the task's worlds repeat."""
    if not isinstance(task, FewWorlds) or task.num_worlds is None:
        return settings
    typed = {name: getattr(settings, name) for name in EVALUATIONS}
    played: dict[str, Any] = {name: at_most_once(episodes, task.num_worlds) for name, episodes in typed.items()}
    fewer = [f"{name}={played[name]} instead of {typed[name]}" for name in EVALUATIONS if played[name] < typed[name]]
    announce(
        f"this task has {task.num_worlds} worlds, which seeds repeat: test worlds are not new, because training plays "
        f"all of them; an evaluation plays each at most once{f' ({", ".join(fewer)})' if fewer else ''}; "
        f"{task.other_worlds}"
    )
    return replace(settings, **played)
