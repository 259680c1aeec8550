"""Summaries of evaluations for files and tables: all worlds, worlds by instruction, two policies (in pairs or not)."""

from __future__ import annotations

from typing import Any

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.statistics import fisher, mcnemar, summarise, welch


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the numbers of an evaluation as `summary.json` stores them."""
    return summarise(evaluation.successes, evaluation.returns, evaluation.lengths)


def by_instruction(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return instruction -> summary of its worlds, in the order of the instructions; empty where there are none."""
    return {text: summary(evaluation.only(text)) for text in sorted(set(evaluation.instructions))}


def paired(base: Evaluation, steered: Evaluation) -> dict[str, Any] | None:
    """Compare two policies in the same worlds, see `mcnemar`; None where that is not possible.

    That is where the task defines no success, or seeds did not repeat its worlds. Raises ValueError for other seeds.
    """
    if base.seeds != steered.seeds:
        raise ValueError("the two evaluations met different worlds; evaluate both with the same seeds and episodes")
    if not base.same_worlds(steered) or base.successes is None or steered.successes is None:
        return None
    return mcnemar(base.successes, steered.successes)


def unpaired(base: Evaluation, steered: Evaluation) -> dict[str, Any] | None:
    """Compare two policies in different worlds of the same seeds; None where the seeds repeated the worlds.

    Pairs by seed would mean nothing there: successes are compared by Fisher's exact test, returns by Welch's.
    """
    if base.same_worlds(steered):
        return None
    if base.successes is None or steered.successes is None:
        return {"test": "Welch's test", "p_value": welch(base.returns, steered.returns)}
    return {"test": "Fisher's exact test", "p_value": fisher(base.successes, steered.successes)}


def comparison(base: Evaluation | None, steered: Evaluation) -> dict[str, Any]:
    """Return the entry `paired` of a file; of different worlds it is None, beside an entry `unpaired`."""
    if base is None:
        return {"paired": None}
    apart = unpaired(base, steered)
    return {"paired": paired(base, steered), **({} if apart is None else {"unpaired": apart})}


def metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return those numbers of an evaluation that are defined, named for loggers."""
    numbers = {name: value for name, value in summary(evaluation).items() if isinstance(value, int | float)}
    return {f"eval/{name}": float(value) for name, value in numbers.items()}
