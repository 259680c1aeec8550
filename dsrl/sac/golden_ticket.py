"""Golden ticket: one constant noise for all states, found by play alone (arXiv 2603.15757).

K draws from N(0, I), unclipped; successive halving chooses. No network and no gradient: it needs nothing that a policy
knows, and shows how much of the head-room lies in the noise itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class GoldenTicket:
    """Candidates [K, dim], and the one that is played."""

    replay = "noise"
    stochastic = False
    bounded = False

    def __init__(self, candidates: Floats) -> None:
        """Plays the first candidate until another is chosen."""
        self.candidates = candidates
        self.ticket: Floats = candidates[0]

    def choose(self, index: int) -> None:
        """Play candidate `index` from now on."""
        self.ticket = self.candidates[index]

    def act(self, features: Floats, normal: Floats | None = None) -> Floats:
        """The ticket, once for each of the features [n, F]: [n, dim]; there is nothing to draw."""
        return np.tile(self.ticket, (len(features), 1))

    def state_dict(self) -> dict[str, Any]:
        """The ticket."""
        return {"ticket": torch.as_tensor(self.ticket).clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Play the saved ticket."""
        self.ticket = state["ticket"].numpy().copy()


def build_golden_ticket(observation_space: Box, action_space: Box, *, candidates: int) -> GoldenTicket:
    """`candidates` tickets for the noise of `action_space` [dim], drawn from torch's global generator.

    Raises ValueError for fewer than two.
    """
    if candidates < 2:
        raise ValueError(f"sac.candidates is {candidates}; a search needs 2 at least")
    return GoldenTicket(torch.randn(candidates, action_space.shape[0]).numpy())
