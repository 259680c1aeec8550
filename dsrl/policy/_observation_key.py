"""Finds what to type where a policy needs images or numbers and the task can observe either."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from dsrl.interfaces import Task


@runtime_checkable
class ObservesEither(Protocol):
    """A task with the key task.observation (optional)."""

    observation: str  # state or images


def typed_for(task: Task, wanted: Literal["state", "images"]) -> str | None:
    """Return what to type so that `task` observes what is wanted; None where it does, or has no key for it."""
    if isinstance(task, ObservesEither) and task.observation in {"state", "images"} - {wanted}:
        return f"task.observation={wanted}"
    return None
