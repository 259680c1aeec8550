"""Chooses the noise to steer by a measurement: the smallest that keeps the base policy's success and can raise it.

    base policy under N(0, I)             -> success p                      in the validation worlds
    under each smaller noise, clipped     -> success q, best of k draws b   the same worlds, smallest noise first

    keeps the success:  q >= (1 - largest_loss) p            has head-room:  b >= p + HEADROOM

The first noise with both is chosen; else the smallest that keeps the success; else the last, which is not measured: its
prior is the base policy's own noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import Act, base_noise, prior_noise
from dsrl.evaluation.outcomes import Outcomes, outcomes_of
from dsrl.interfaces import Noise

HEADROOM = 0.05  # success
SOLVED = 0.95  # success of the base policy
BASE = "base policy"


@dataclass(frozen=True)
class NoiseChoice:
    """The chosen noise, and what was measured: outcomes by noise, `BASE` first; of a task with success or without."""

    name: str
    numbers: int
    measured: Mapping[str, Outcomes]
    has_success: bool = True

    def content(self) -> dict[str, Any]:
        """Return the choice as JSON."""
        rows = {
            name: {
                "success_rate": outcomes.rate,
                "ci95": list(outcomes.interval),
                "best_of_draws": outcomes.pass_at(outcomes.draws),
                "episodes": outcomes.successes.size,
            }
            for name, outcomes in self.measured.items()
        }
        return {"chosen": self.name, "numbers": self.numbers, "measured": rows, "doubt": self.doubt}

    @property
    def sentence(self) -> str:
        """The choice and its reason."""
        text = f"{self.name} ({self.numbers} numbers)"
        if not self.measured:
            return text
        base, chosen = self.measured[BASE], self.measured.get(self.name)
        if chosen is None:
            return f"{text}: smaller noise loses too much of the base policy's success, {base.rate:.0%}"
        best = f"best of {chosen.draws} draws {chosen.pass_at(chosen.draws):.0%}"
        return f"{text}: success {chosen.rate:.0%}, {best}; base policy {base.rate:.0%}"

    @property
    def doubt(self) -> str | None:
        """Why steering will hardly help, as far as all measured draws show; None where they give no reason."""
        if not self.measured:
            return None
        base, draws = self.measured[BASE], np.hstack([outcomes.successes for outcomes in self.measured.values()])
        worlds = f"{draws.shape[0]} worlds ({draws.shape[1]} draws each)"
        if self.has_success and not draws.any():
            return f"no draw of noise solved any of {worlds}: there is no success to learn from"
        if self.has_success and base.rate >= SOLVED:
            return f"the base policy already succeeds in {base.rate:.0%}: steering has little to add"
        if (draws.any(1) == draws.all(1)).all():
            return f"no draw of noise changed the outcome of any of {worlds}: steering cannot help"
        return None


def choose_noise(
    candidates: Mapping[str, Noise],
    noise_shape: tuple[int, int],
    play: Callable[[Act], Evaluation],
    *,
    draws: int,
    largest_loss: float,
) -> NoiseChoice:
    """Return the choice among `candidates`, smallest first, the last of which has the base policy's own prior.

    `play` evaluates a noise in worlds that are always the same. Where the task defines no success, a return
    of the base policy's median or more counts as one.
    """
    names = list(candidates)
    played = [play(base_noise(noise_shape, draw)) for draw in range(draws)]
    threshold = float(np.median([one.returns for one in played]))
    measured, has_success = {BASE: outcomes_of(played, threshold)}, played[0].successes is not None
    kept: list[str] = []
    for name in names[:-1]:
        noise = candidates[name]
        played = [play(prior_noise(noise, noise.magnitude, draw)) for draw in range(draws)]
        measured[name] = outcomes_of(played, threshold)
        if _keeps(measured[name], measured[BASE], largest_loss):
            kept.append(name)
            if _has_headroom(measured[name], measured[BASE]):
                return NoiseChoice(name, noise.dim, measured, has_success)
    chosen = (kept or names[-1:])[0]
    return NoiseChoice(chosen, candidates[chosen].dim, measured, has_success)


def smooth_ranks(slots: int) -> list[int]:
    """Return 2, 4, 8 … below the number of slots; rank 1 is repeated noise, and all slots are full noise rotated."""
    return [2**i for i in range(1, slots.bit_length()) if 2**i < slots]


def _keeps(outcomes: Outcomes, base: Outcomes, largest_loss: float) -> bool:
    return outcomes.rate >= (1 - largest_loss) * base.rate


def _has_headroom(outcomes: Outcomes, base: Outcomes) -> bool:
    """Return whether the best draws are better than the base policy; true where nothing could be."""
    return outcomes.pass_at(outcomes.draws) >= min(1.0, base.rate + HEADROOM)
