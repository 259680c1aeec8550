"""Summaries of evaluations for files and tables: all worlds, worlds by instruction, two policies in pairs."""

from __future__ import annotations

from typing import Any

from dsrl.evaluation.episodes import Evaluation
from dsrl.evaluation.statistics import mcnemar, summarise


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the numbers of an evaluation as `summary.json` stores them."""
    return summarise(evaluation.successes, evaluation.returns, evaluation.lengths)


def by_instruction(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return instruction -> summary of its worlds, in the order of the instructions; empty where there are none."""
    return {text: summary(evaluation.only(text)) for text in sorted(set(evaluation.instructions))}


def paired(base: Evaluation, steered: Evaluation) -> dict[str, Any] | None:
    """Compare two policies in the same worlds, see `mcnemar`; None for tasks without a success criterion.

    Raises ValueError when the two evaluations met different worlds.
    """
    if base.seeds != steered.seeds:
        raise ValueError("the two evaluations met different worlds; evaluate both with the same seeds and episodes")
    if base.successes is None or steered.successes is None:
        return None
    return mcnemar(base.successes, steered.successes)


def metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return those numbers of an evaluation that are defined, named for loggers."""
    numbers = {name: value for name, value in summary(evaluation).items() if isinstance(value, int | float)}
    return {f"eval/{name}": float(value) for name, value in numbers.items()}
