"""Chooses the noise to steer by a measurement: the smallest that keeps the base policy's success and can raise it.

    base policy under N(0, I)             -> success p                      in the validation worlds
    under each smaller noise, clipped     -> success q, best of 2 draws b   the same worlds, smallest noise first

    keeps the success:  q >= (1 - largest_loss) p            has head-room:  b >= p + HEADROOM

Every noise is drawn twice in every world, and again as long as the sign of q - (1 - largest_loss) p is in doubt; after
the last draw it decides as it is. The first noise with both is chosen. The last one is not measured: its prior is the
base policy's own noise.

Where none has head-room, that of two random draws says little: an actor chooses by state, and more from a larger noise.
The largest of at most LEARNT numbers that keeps the success is then chosen; else the smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import Act, base_noise, prior_noise
from dsrl.evaluation.outcomes import Outcomes, mean_difference, outcomes_of
from dsrl.interfaces import Noise

HEADROOM = 0.05  # success
LEARNT = 32  # numbers: the most of the tasks on which learning was measured
SOLVED = 0.95  # success of the base policy
BASE = "base policy"
FIRST_DRAWS = 2  # of every noise; the best of as many is compared, however many follow
# Standard errors of a difference that decide before the last draw. Accepting needs more evidence: a wrong acceptance
# costs success that training starts from, a wrong refusal a few more numbers for the actor. Of 64 worlds with 39 %
# base success, a noise that loses a third is accepted in 1 to 2 % of cases, one that loses nothing refused in 1 to 2 %.
ACCEPT, REFUSE = 1.5, 1.0


@dataclass(frozen=True)
class NoiseChoice:
    """The chosen noise, and what was measured: outcomes by noise, `BASE` first; of a task with success or without."""

    name: str
    numbers: int
    measured: Mapping[str, Outcomes]
    has_success: bool = True
    lacks_headroom: bool = False  # whether smaller noise keeps the success, and none has head-room

    def content(self) -> dict[str, Any]:
        """Return the choice as JSON."""
        rows = {
            name: {
                "success_rate": outcomes.rate,
                "ci95": list(outcomes.interval),
                f"best_of_{FIRST_DRAWS}": outcomes.pass_at(FIRST_DRAWS),
                "draws": outcomes.draws,
                "episodes": outcomes.successes.size,
            }
            for name, outcomes in self.measured.items()
        }
        return {"chosen": self.name, "numbers": self.numbers, "measured": rows, "doubt": self.doubt}

    @property
    def sentence(self) -> str:
        """The choice and its reason."""
        text = f"{self.name} ({self.numbers} {'number' if self.numbers == 1 else 'numbers'})"
        if not self.measured:
            return text
        base, chosen = self.measured[BASE], self.measured.get(self.name)
        if self.lacks_headroom:
            best = f"the best of {FIRST_DRAWS} draws"
            return f"{text}: no smaller noise has head-room by {best}; base policy {base.rate:.0%}"
        if chosen is None:
            if not self.has_success:
                return f"{text}: under smaller noise too few episodes return the base policy's median or more"
            return f"{text}: smaller noise loses too much of the base policy's success, {base.rate:.0%}"
        best = f"best of {FIRST_DRAWS} {chosen.pass_at(FIRST_DRAWS):.0%}"
        draws = f"{chosen.draws} and {base.draws} draws per world"
        return f"{text}: {self._measure} {chosen.rate:.0%}, {best}; base policy {base.rate:.0%} ({draws})"

    @property
    def _measure(self) -> str:
        return "success" if self.has_success else "returns of the base policy's median or more"

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

    `play` evaluates a noise in worlds that are always the same. Each noise is drawn `draws` times at most. Where the
    task defines no success, a return of the median of the base policy's first draws or more counts as one.
    """
    names = list(candidates)
    base = _Played(play, partial(base_noise, noise_shape))
    has_success = base.evaluations[0].successes is not None
    threshold = float(np.median([one.returns for one in base.evaluations]))
    played = {BASE: base}
    kept: list[str] = []
    raising: str | None = None
    for name in names[:-1]:
        noise = candidates[name]
        played[name] = _Played(play, partial(prior_noise, noise, noise.magnitude))
        if _keeps(played[name], base, threshold, draws, largest_loss):
            kept.append(name)
            if _has_headroom(played[name].outcomes(threshold), base.outcomes(threshold)):
                raising = name
                break
    chosen = raising or _without_headroom(candidates, [*kept, names[-1]])
    measured = {name: one.outcomes(threshold) for name, one in played.items()}
    lacks = bool(kept) and raising is None
    return NoiseChoice(chosen, candidates[chosen].dim, measured, has_success, lacks)


def _without_headroom(candidates: Mapping[str, Noise], kept: Sequence[str]) -> str:
    """Return the largest of `kept`, smallest first, that is of at most LEARNT numbers; else the smallest."""
    learnt = [name for name in kept if candidates[name].dim <= LEARNT]
    return learnt[-1] if learnt else kept[0]


def smooth_ranks(slots: int) -> list[int]:
    """Return 2, 4, 8 … below the number of slots; rank 1 is repeated noise, and all slots are full noise rotated."""
    return [2**i for i in range(1, slots.bit_length()) if 2**i < slots]


class _Played:
    """The evaluations of one noise, one per draw: `FIRST_DRAWS`, and more when they are requested."""

    def __init__(self, play: Callable[[Act], Evaluation], noise: Callable[..., Act]) -> None:
        """`noise(draw=i)` is the i-th draw."""
        self._play, self._noise = play, noise
        self.evaluations: list[Evaluation] = []
        self.extend(FIRST_DRAWS)

    def extend(self, draws: int) -> None:
        """Play until there are at least `draws`."""
        while len(self.evaluations) < draws:
            self.evaluations.append(self._play(self._noise(draw=len(self.evaluations))))

    def outcomes(self, threshold: float) -> Outcomes:
        """Return the successes; where undefined, returns of `threshold` or more."""
        return outcomes_of(self.evaluations, threshold)


def _keeps(played: _Played, base: _Played, threshold: float, draws: int, largest_loss: float) -> bool:
    """Return whether a noise keeps the base policy's success; plays both until that is clear, or `draws` are played."""
    while True:
        outcomes = played.outcomes(threshold)
        mean, error = mean_difference(outcomes, base.outcomes(threshold), 1 - largest_loss)
        if outcomes.draws >= draws or not -REFUSE * error < mean < ACCEPT * error:
            return mean >= -1e-9  # rounding
        played.extend(outcomes.draws + 1)
        base.extend(outcomes.draws + 1)


def _has_headroom(outcomes: Outcomes, base: Outcomes) -> bool:
    """Return whether the best of two draws is better than the base policy; true where nothing could be."""
    return outcomes.pass_at(FIRST_DRAWS) >= min(1.0, base.rate + HEADROOM)
