"""Chooses the noise to steer by a measurement: the smallest that keeps the base policy's success and can raise it.

    base policy under N(0, I)             -> success p                      in the validation worlds
    under each smaller noise, clipped     -> success q, best of 2 draws b   the same worlds, smallest noise first

    keeps the success:  q >= (1 - largest_loss) p            has head-room:  b >= p + HEADROOM

Every noise is drawn twice in every world, and again as long as the sign of q - (1 - largest_loss) p is in doubt; after
the last draw it decides as it is. The first noise with both is chosen. The prior of the last one is the base policy's
own noise, but for clipping: it is chosen without a measurement where no smaller one keeps the success.

Where seeds do not repeat the worlds, the best of two draws is that of two worlds as well: there a noise has head-room
only where its mean is significantly higher.

Two draws hardly raise a success below HEADROOM by as much. There a noise that succeeds significantly more often than
the base policy has head-room, too.

Where the task defines no success, p, q and b are mean returns, and s is the standard deviation of the base policy's
returns over draws in the same world, which of a fair coin is 1/2:

    keeps the return:   q >= p - largest_loss s              has head-room:  b > p + 2 HEADROOM s

Where none has head-room, that of two random draws says little: an actor chooses by state, and more from a larger noise.
The largest of at most LEARNT numbers that keeps the success is then chosen; else the smallest. There the last one is
measured as well, and left out where it loses the success significantly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.noise_sources import Act, base_noise, prior_noise
from dsrl.evaluation.outcomes import Outcomes, mean_difference, outcomes_of, p_value
from dsrl.interfaces import Noise

HEADROOM = 0.05  # success
SIGNIFICANCE = 0.05  # of a difference from the base policy's success: below HEADROOM, and of the last noise
LEARNT = 32  # numbers: the most of the tasks on which learning was measured
SOLVED = 0.95  # success of the base policy
BASE = "base policy"
UNREPEATED = "seeds do not repeat the worlds, so that the best of draws shows no head-room"
FIRST_DRAWS = 2  # of every noise; the best of as many is compared, however many follow
# Standard errors of a difference that decide before the last draw. Accepting needs more evidence: a wrong acceptance
# costs success that training starts from, a wrong refusal a few more numbers for the actor. Of 64 worlds with 39 %
# base success, a noise that loses a third is accepted in 1 to 2 % of cases; one that loses nothing is refused in 1 to
# 2 % where some worlds are harder than others, in up to 15 % where all are alike, whose outcomes say least.
ACCEPT, REFUSE = 1.5, 1.0


@dataclass(frozen=True)
class NoiseChoice:
    """The chosen noise, and what was measured: outcomes by noise, `BASE` first."""

    name: str
    numbers: int
    measured: Mapping[str, Outcomes]
    lacks_headroom: bool = False  # whether smaller noise keeps the success or return, and none has head-room
    lost: str | None = None  # the last noise, where it is measured then and loses too much by clipping

    @property
    def repeated(self) -> bool:
        """Whether seeds repeated the worlds in all that was measured."""
        return all(outcomes.repeated for outcomes in self.measured.values())

    def content(self) -> dict[str, Any]:
        """Return the choice as JSON."""
        rows = {
            name: {
                "success_rate" if outcomes.is_success else "mean_return": outcomes.score,
                "ci95": outcomes.interval and list(outcomes.interval),
                f"best_of_{FIRST_DRAWS}": outcomes.best_of(FIRST_DRAWS) if self.repeated else None,
                "draws": outcomes.draws,
                "episodes": outcomes.scores.size,
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
        before = base.text(base.score)
        if self.lacks_headroom:
            by = f"the best of {FIRST_DRAWS} draws" if self.repeated else f"its mean ({UNREPEATED})"
            reason = f"no smaller noise has head-room by {by}; base policy {before}"
            if self.lost is not None:
                reason += f", {self.lost} within noise.magnitude {base.text(self.measured[self.lost].score)}"
            return f"{text}: {reason}"
        if len(self.measured) == 1:
            return f"{text}: there is no other; base policy {before}"
        if chosen is None:
            measure = "success" if base.is_success else "return"
            return f"{text}: other noise loses too much of the base policy's {measure}, {before}"
        score = f"{'success' if base.is_success else 'mean return'} {chosen.text(chosen.score)}"
        draws = f"{chosen.draws} and {base.draws} draws per world"
        if not self.repeated:
            return f"{text}: {score}; base policy {before} ({draws}); {UNREPEATED}"
        best = f"best of {FIRST_DRAWS} {chosen.text(chosen.best_of(FIRST_DRAWS))}"
        return f"{text}: {score}, {best}; base policy {before} ({draws})"

    @property
    def doubt(self) -> str | None:
        """Why steering will hardly help, as far as all measured draws show; None where they give no reason."""
        if not self.measured:
            return None
        base, draws = self.measured[BASE], np.hstack([outcomes.scores for outcomes in self.measured.values()])
        worlds = f"{draws.shape[0]} worlds ({draws.shape[1]} draws each)"
        if base.is_success and not draws.any():
            return f"no draw of noise solved any of {worlds}: there is no success to learn from"
        if base.is_success and base.score >= SOLVED:
            return f"the base policy already succeeds in {base.score:.0%}: steering has little to add"
        if not Outcomes(draws).mixed:
            return f"no draw of noise changed the outcome of any of {worlds}: steering will hardly help"
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
    task defines no success, returns are compared.
    """
    *smaller, last = candidates
    base = _Played(play, partial(base_noise, noise_shape))
    played = {BASE: base}

    def measured(name: str) -> _Played:
        noise = candidates[name]
        played[name] = _Played(play, partial(prior_noise, noise, noise.magnitude))
        return played[name]

    kept: list[str] = []
    lost = raising = None
    for name in smaller:
        if _keeps(measured(name), base, draws, largest_loss):
            kept.append(name)
            if _has_headroom(played[name], base, draws):
                raising = name
                break
    lacks_headroom = bool(kept) and raising is None
    if lacks_headroom and candidates[last].dim <= LEARNT and _loses(measured(last), base, draws, largest_loss):
        lost = last
    chosen = raising or _without_headroom(candidates, kept if lost else [*kept, last])
    outcomes = {name: one.outcomes for name, one in played.items()}
    return NoiseChoice(chosen, candidates[chosen].dim, outcomes, lacks_headroom, lost)


def most_evaluations(candidates: Mapping[str, Noise], draws: int) -> int:
    """Return how many evaluations `choose_noise` plays at most: all `draws` of the base policy and what it measures."""
    *smaller, last = candidates
    if not smaller:
        return FIRST_DRAWS  # of the base policy alone
    measured = [*smaller, last] if candidates[last].dim <= LEARNT else smaller
    return max(draws, FIRST_DRAWS) * (1 + len(measured))


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

    @property
    def outcomes(self) -> Outcomes:
        """The successes of all draws; where undefined, the returns."""
        return outcomes_of(self.evaluations)


def _keeps(played: _Played, base: _Played, draws: int, largest_loss: float) -> bool:
    """Return whether a noise keeps the base policy's score; plays both until that is clear, or `draws` are played."""
    while True:
        num = played.outcomes.draws
        mean, error = _margin(played.outcomes, base.outcomes, largest_loss)
        if num >= draws or not -REFUSE * error < mean < ACCEPT * error:
            return mean >= -_rounding(base.outcomes)
        played.extend(num + 1)
        base.extend(num + 1)


def _loses(played: _Played, base: _Played, draws: int, largest_loss: float) -> bool:
    """Return whether the base policy's own noise loses its score by clipping; plays up to `draws` where it seems to.

    It seldom does: evidence has to be significant. At a success of 5 %, `_keeps` refuses a third that lose nothing.
    """
    if _keeps(played, base, draws, largest_loss):
        return False
    played.extend(draws)
    base.extend(draws)
    lost = not _keeps(played, base, draws, largest_loss)
    return lost and p_value(played.outcomes, base.outcomes) < SIGNIFICANCE


def _margin(outcomes: Outcomes, base: Outcomes, largest_loss: float) -> tuple[float, float]:
    """Return how far a noise is above the lowest acceptable score, and the standard error over worlds."""
    if base.is_success:
        return mean_difference(outcomes, base, 1 - largest_loss)
    mean, error = mean_difference(outcomes, base, 1.0)
    return mean + largest_loss * base.spread, error


def _has_headroom(played: _Played, base: _Played, draws: int) -> bool:
    """Return whether the best of two draws is better than the base policy; true of success where nothing could be.

    Where seeds do not repeat the worlds, whether the mean is significantly higher, by what is played already. Plays up
    to `draws` where the base policy's success is below HEADROOM and the noise's above it.
    """
    outcomes, before = played.outcomes, base.outcomes
    if not (outcomes.repeated and before.repeated):
        solved = outcomes.is_success and outcomes.scores.all()
        return bool(solved or (outcomes.score > before.score and p_value(outcomes, before) < SIGNIFICANCE))
    best = outcomes.best_of(FIRST_DRAWS)
    if not before.is_success:  # returns have no upper end: where none differ, nothing shows that they can
        return best > before.score + HEADROOM * before.unit + _rounding(before)
    if best >= min(1.0, before.score + HEADROOM):
        return True
    if not before.score < min(HEADROOM, outcomes.score):
        return False
    played.extend(draws)
    base.extend(draws)
    outcomes, before = played.outcomes, base.outcomes
    return outcomes.score > before.score and p_value(outcomes, before) < SIGNIFICANCE


def _rounding(outcomes: Outcomes) -> float:
    """Return a difference of scores that is none, but of rounding."""
    return 1e-9 * float(np.abs(outcomes.scores).max())
