"""Joins observations of consecutive control steps into the history that some policies encode.

    control step     t-2    t-1     t                      state [B, S], images [B, 3, H, W]
    observed          o      o      o   --join-->          state [B, n, S], images [B, n, 3, H, W], oldest first

As in lerobot, an episode starts with n copies of its first observation. With n = 1 observations stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dsrl.interfaces import HasHistory, Observation, Policy, Task
from dsrl.rules import task_rules


def length(policy: Policy) -> int:
    """Return the number n of consecutive observations that a policy encodes."""
    return policy.num_observations if isinstance(policy, HasHistory) else 1


def due(policy: Policy, left: Tensor, t: int) -> Tensor:
    """Return which worlds [B] to observe after control step t = 0, 1, … of a chunk, bool.

    left: control steps [B] of the chunk that each world plays unless it terminates. The last n of them are in its next
    history, the very last as it is observed anyway. Of a world that its task truncates before `max_steps`, all but the
    last are unknown in advance: the history from which its value bootstraps may then lack steps.
    """
    return (left - length(policy) <= t) & (t < left - 1)


def join(steps: Sequence[Observation]) -> Observation:
    """Join observations of consecutive control steps, oldest first; the instruction is that of the latest."""
    if len(steps) == 1:
        return steps[0]
    images = {name: torch.stack([step.images[name] for step in steps], 1) for name in steps[-1].images}
    return Observation(torch.stack([step.state for step in steps], 1), images, steps[-1].instruction)


def update(observed: Observation | None, task: Task, worlds: Tensor, copies: int = 0) -> Observation:
    """Observe rows `worlds`, alone where the task can, and append to their histories, which lose their oldest.

    With `copies`, the histories start anew: n copies of the fresh observation. Where there are none yet, the other rows
    are placeholders: those worlds have ended, and nothing reads them before a reset.
    """
    fresh = task_rules.observe(task, worlds)
    if copies:
        fresh = join([fresh] * copies)
    if observed is None:
        assert copies, "worlds are reset before they are stepped"
        rows = torch.zeros(task.num_envs, dtype=torch.int64)
        rows[worlds] = torch.arange(len(worlds))
        return fresh[rows]
    if not copies and observed.state.ndim > fresh.state.ndim:
        known = observed[worlds]
        images = {name: _shifted(image, fresh.images[name]) for name, image in known.images.items()}
        fresh = Observation(_shifted(known.state, fresh.state), images, fresh.instruction)
    return observed.with_rows(fresh, worlds)


def _shifted(old: Tensor, latest: Tensor) -> Tensor:
    return torch.cat([old[:, 1:], latest[:, None]], 1)
