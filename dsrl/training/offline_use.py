"""The transitions of a dataset, and how training uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from dsrl.training.replay_buffer import Replay


class OfflineTransitions(Protocol):
    """Transitions of a dataset."""

    def __len__(self) -> int:
        """Return their number."""

    def write(self, replay: Any, buffer: Replay, draws: int) -> None:
        """Add all of them to `buffer`, with the data that `replay` stores of states and chunks of `draws` noises."""


@dataclass(frozen=True)
class Offline:
    """The transitions of a dataset, and how training uses them."""

    transitions: OfflineTransitions
    updates: int = 0  # gradient steps after warm-up, before the actor plays
    share: float | None = None  # of each batch; None: their share of replay
    cloning_updates: int = 0  # gradient steps of the actor on their noise before; the algorithm `ClonesNoise`
