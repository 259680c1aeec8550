"""Checks the stored results of the base policy, which somebody may have changed: base.json -> evaluations by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsrl.evaluation.episodes import Evaluation
from dsrl.foreign_json import first_line


def stored_results(
    content: Any, names: Sequence[str], seeds: Sequence[int], *, has_success: bool
) -> dict[str, Evaluation]:
    """Return the evaluations called `names`, of the worlds `seeds`; with successes where the task `has_success`.

    Raises ValueError for content without them.
    """
    if not isinstance(content, dict) or set(content) != set(names):
        raise ValueError(f"its results are not {', '.join(names)}")
    try:
        results = {name: Evaluation.from_dict(content[name]) for name in names}
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(first_line(error)) from error
    if any(one.seeds != tuple(seeds) or (one.successes is not None) != has_success for one in results.values()):
        raise ValueError("its results are of other worlds")
    return results
