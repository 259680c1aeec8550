"""The contract of algorithms that edit chunks, and the bounds that an edit never crosses.

noise -> Policy.decode -> chunk [n, h, A] -> EditsChunks.edit -> executed chunk [n, h, A] -> task, replay
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from dsrl.interfaces import BoundedActions, Encoding, Task


@runtime_checkable
class EditsChunks(Protocol):
    """An algorithm, or a source of noise for evaluations, that changes decoded chunks before they are executed."""

    def edit(self, encoding: Encoding, chunk: Tensor) -> Tensor:
        """Return the chunks [n, h, A] to execute in place of those that noise decoded to; does not change them."""


Editor = EditsChunks | None


def within(chunk: Tensor, edited: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Limit edited chunks [..., A] to the box `low` [A], `high` [A], or to where the chunk itself already was."""
    return edited.maximum(chunk.minimum(low)).minimum(chunk.maximum(high))


def action_bounds(task: Task) -> tuple[Tensor, Tensor] | None:
    """Return the least and greatest actions [A] of a task; None where it has no box of actions."""
    return (task.action_low, task.action_high) if isinstance(task, BoundedActions) else None
