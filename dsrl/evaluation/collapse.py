"""Detects that training has fallen below the base policy, by a paired test that rules out bad luck.

validations so far -> the best against the latest, world by world -> exact McNemar test -> a sentence, or None
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from math import comb
from pathlib import Path

from dsrl.evaluation.confirmation import differences, p_better
from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.opposed_reward import risen_returns
from dsrl.evaluation.report import score_text
from dsrl.evaluation.statistics import sign_flip_bound

SIGNIFICANCE = 0.02  # of all validations of a run: each pair of them gets an equal share (Bonferroni)
FLIPS = 99_999  # of signs; for smaller p-values of returns there is a bound


def collapse(validations: Sequence[Evaluation], base: Evaluation | None) -> str | None:
    """Describe the collapse in the latest of `validations`, all on the same worlds; None where there is none.

    Training has collapsed when the latest score is below that of the unsteered `base` and also below the best
    validation, in a two-sided paired test on the shared worlds (see `p_better`) at 2 % divided by the number of pairs
    of validations so far. The best of many validations is partly luck and each new one is compared again: at 1 %,
    undivided, a policy that never changes is reported in every eighth run of 12 validations of 64 worlds and in every
    second of 40; with the division in 1 to 3 % of 6 to 40. Returns None without a base.
    """
    if len(validations) < 2 or base is None:
        return None
    latest = validations[-1]
    number, best = max(enumerate(validations[:-1], start=1), key=lambda item: item[1].score)
    if latest.score >= min(best.score, base.score):
        return None
    p_value = min(1.0, 2.0 * _p_fallen(latest, best))
    if p_value >= _significance(len(validations)):
        return None
    measure = "mean return" if latest.successes is None else "success"
    now, before, highest = (score_text(one, 0) for one in (latest, base, best))
    sentence = (
        f"training has collapsed: validation {measure} is {now}, below the base policy's {before}, "
        f"after {highest} at validation {number} (p = {p_value:.1g}); the best checkpoint is unchanged"
    )
    return "; ".join(filter(None, (sentence, risen_returns(best, latest))))


def check_stop(worlds: int, first: int, planned: int, num_worlds: int | None = None) -> str | None:
    """Return a sentence where too few validation worlds let `stop_on_collapse` act in early validations alone, or None.

    `first` is the number of the first validation that may stop training, `planned` about how many there will be, and
    `num_worlds` how many worlds the task has, None for endless ones. Raises ValueError where none can stop it.
    """
    if _can_collapse(worlds, planned):
        return None
    if not _can_collapse(worlds, first):
        enough = next(more for more in count(worlds + 1) if _can_collapse(more, first))
        possible = num_worlds is None or num_worlds >= enough
        advice = f"type validation_episodes={enough} or more, or" if possible else f"the task has {num_worlds}; type"
        raise ValueError(
            f"stop_on_collapse=true can never act with validation_episodes={worlds}: losing all of so few worlds may "
            f"still be chance; {advice} stop_on_collapse=false"
        )
    last = next(number for number in range(first, planned) if not _can_collapse(worlds, number + 1))
    return (
        f"stop_on_collapse=true can act until validation {last} of about {planned}: later ones share one significance "
        f"among more pairs than validation_episodes={worlds} can serve; more validation_episodes see more"
    )


def _can_collapse(worlds: int, number: int) -> bool:
    """Return whether losing all of so many worlds would be a collapse in a validation of this number."""
    return 2.0 * 2.0**-worlds < _significance(number)


def _significance(number: int) -> float:
    """Return the share of one pair of so many validations."""
    return SIGNIFICANCE / comb(number, 2)


def _p_fallen(latest: Evaluation, best: Evaluation) -> float:
    """Return the one-sided p-value of `latest` being worse than `best` in the same worlds.

    No p-value of flips is below 1 / (1 + FLIPS), which exceeds the share of one of 1,035 pairs, those of 46
    validations: where no flip of returns leads as far, their exact p-value is bounded instead.
    """
    p_value = p_better(latest, best, FLIPS)
    if latest.successes is not None or p_value > 1 / (1 + FLIPS):
        return p_value
    return min(p_value, sign_flip_bound(differences(latest, best)))


@contextmanager
def naming_checkpoints(checkpoints: Path) -> Iterator[None]:
    """Add the names of the saved checkpoints to the error of a number that is not finite."""
    try:
        yield
    except FloatingPointError as error:
        saved = " and ".join(sorted(manifest.parent.name for manifest in checkpoints.glob("*/manifest.json")))
        error.add_note(f"checkpoints saved before this error in {checkpoints}: {saved or 'none'}")
        raise
