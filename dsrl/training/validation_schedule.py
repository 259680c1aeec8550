"""Decides when a learner is validated: every so many decisions, but not before an episode can end in each world.

A validation begins new episodes in all worlds. Were those of training always cut short, the actor would never play
their late decisions, nor earn a reward that comes at the end.
"""

from __future__ import annotations


def decisions_apart(every: int, num_envs: int, longest_episode: int) -> int:
    """Return after how many decisions validations come: `every`, or more where the longest episode needs more."""
    return max(every, num_envs * longest_episode)


class ValidationSchedule:
    """Says when a validation is due; counts are decisions, summed over worlds."""

    def __init__(self, every: int, num_envs: int, longest_episode: int) -> None:
        """`every` is kept where the longest episode, in decisions of one world, fits into it."""
        self.every = every
        apart = decisions_apart(every, num_envs, longest_episode)
        self.least = apart if apart > every else 0
        self.last = 0  # when all worlds last began new episodes

    def due(self, decisions: int) -> bool:
        """Return whether a multiple of `every` has passed since the last validation, and enough for an episode."""
        return decisions // self.every > self.last // self.every and decisions - self.last >= self.least
