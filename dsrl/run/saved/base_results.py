"""Stores the results of the base policy and checks them when they are read again: evaluations by name <-> base.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dsrl.evaluation.episodes import Evaluation, repeated
from dsrl.foreign_json import first_line
from dsrl.run.saved.digests import same_values
from dsrl.run.saved.files import LARGEST_WORLDS, read_json
from dsrl.run.saved.folder import RunFolder


def stored_or_played(
    folders: Sequence[RunFolder],
    identity: Mapping[str, Any],
    key: Mapping[str, Any],
    names: Sequence[str],
    play: Callable[[], Mapping[str, Evaluation]],
    announce: Callable[[str], None],
    *,
    has_success: bool,
) -> dict[str, Evaluation]:
    """Return the results of `play`, from one of `folders` where they were stored under the same `identity` and `key`.

    They have `names`, the worlds of the key, and successes where the task `has_success`. Others are damage, and are
    played again. New results are stored in the first folder.
    """
    seeds = range(key["test_seed"], key["test_seed"] + key["eval_episodes"])
    whole = {**identity, **key}
    for folder in folders:
        stored = read_json(folder.base, LARGEST_WORLDS)
        if same_values(stored.get("key"), whole):
            try:
                restored = _stored_results(stored.get("results"), names, seeds, has_success=has_success)
            except ValueError as error:
                announce(f"{folder.base} is damaged ({error}): the base policy is played again")
                continue
            if not repeated(restored.values()):
                announce(
                    "the base policy was played earlier, in worlds that seeds do not repeat: where the task has become "
                    f"easier or harder since, delete {folder.base} and the base policy is played again"
                )
            return restored
    results = dict(play())
    content = {"key": whole, "results": {name: one.to_dict() for name, one in results.items()}}
    folders[0].write_json(folders[0].base, content)
    return results


def _stored_results(
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
