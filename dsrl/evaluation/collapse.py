"""Has training lost what it had reached, and more? A collapse is told from bad luck by a paired test.

validations so far -> the best against the latest, world by world -> exact McNemar test -> a sentence, or nothing
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.summary import paired

SIGNIFICANCE = 0.01


def collapse(validations: Sequence[Evaluation], base: Evaluation | None) -> str | None:
    """A sentence if the latest of `validations`, all on the same worlds, is a collapse; otherwise None.

    It is one where success lies below that of the unsteered `base`, and below the best validation by more than chance
    gives in one of a hundred comparisons (two-sided exact McNemar test on the shared worlds). The best of many is
    partly luck, which favours an alarm; hence the second condition. Nothing is said without success or a base.
    """
    if len(validations) < 2 or base is None or base.successes is None:
        return None
    latest = validations[-1]
    number, best = max(enumerate(validations[:-1], start=1), key=lambda item: item[1].score)
    pair = paired(best, latest)
    if pair is None or latest.score >= min(best.score, base.score) or pair["p_value"] >= SIGNIFICANCE:
        return None
    return (
        f"training has collapsed: validation success is {latest.score:.0%}, below the base policy's {base.score:.0%}, "
        f"after {best.score:.0%} at validation {number} (p = {pair['p_value']:.1g}); the best checkpoint is kept"
    )


@contextmanager
def naming_checkpoints(checkpoints: Path) -> Iterator[None]:
    """Where a number that is not finite ends the block, its error also says which checkpoints were saved before it."""
    try:
        yield
    except FloatingPointError as error:
        kept = " and ".join(sorted(manifest.parent.name for manifest in checkpoints.glob("*/manifest.json")))
        error.add_note(f"checkpoints from before that are kept in {checkpoints}: {kept or 'none'}")
        raise
