"""Golden ticket: one constant noise vector for all states, found by play alone (arXiv 2603.15757).

K draws from N(0, I), unclipped, are compared by successive halving. There is no network and no gradient; the result
shows how much of the possible improvement constant noise achieves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from gymnasium.spaces import Box
from torch import Tensor

from dsrl.interfaces import Replay, StateDict


class GoldenTicket:
    """Candidate noise vectors [K, dim], and the one that is played."""

    replay: Replay = "noise"
    stochastic = False
    bounded = False

    def __init__(self, candidates: Tensor) -> None:
        """Play the first candidate until another is chosen."""
        self.candidates = candidates
        self.ticket = candidates[0]

    def choose(self, index: int) -> None:
        """Play candidate `index` from now on."""
        self.ticket = self.candidates[index]

    def act(self, features: Tensor, normal: Tensor | None = None) -> Tensor:
        """Repeat the ticket for each of the features [n, F]: [n, dim]; `normal` is ignored."""
        return self.ticket.expand(len(features), -1).clone()

    def state_dict(self) -> StateDict:
        """Return the ticket."""
        return {"ticket": self.ticket.clone()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Play the saved ticket. Raises ValueError for one of another number of dimensions."""
        if state_dict["ticket"].shape != self.ticket.shape:
            raise ValueError(f"the ticket has shape {list(state_dict['ticket'].shape)}, not {list(self.ticket.shape)}")
        self.ticket = state_dict["ticket"].clone()


def build_golden_ticket(
    observation_space: Box, action_space: Box, *, candidates: Annotated[int, Ge(2), Le(100_000)]
) -> GoldenTicket:
    """Draw `candidates` tickets for the noise of `action_space` [dim] from torch's global generator.

    Raises ValueError for fewer than two.
    """
    if candidates < 2:
        raise ValueError(f"sac.candidates={candidates} must be at least 2")
    return GoldenTicket(torch.randn(candidates, action_space.shape[0]))
