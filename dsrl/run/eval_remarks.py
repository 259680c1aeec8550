"""Remarks on what an evaluation of a saved run can show, given how its worlds and its critics were used before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsrl.run.config.worlds import shared_worlds


def reused_worlds(judging: Mapping[str, range], worlds: range) -> Iterator[str]:
    """Yield a sentence for each choice that a run made in `worlds`; `judging` are `Settings.judging_worlds` of it."""
    chose = (
        ("validation", "chose the checkpoint", judging["validation_seed"]),
        ("confirmation", "chose the policy that is returned", judging["confirm_seed"]),
    )
    for kind, what, others in chose:
        shared = shared_worlds(worlds, others)
        if shared:
            yield (
                f"{shared} of these {len(worlds)} worlds are {kind} worlds, which {what}: it may do worse "
                f"in others; those from test_seed={judging['test_seed'].start} chose nothing"
            )


def held_values(identity: Mapping[str, Any], best_of: int | None) -> str | None:
    """Return a sentence where the best of N is chosen by values of held draws; None where it is not.

    `identity` is that of the run's parts.
    """
    if best_of is None or identity.get("sac.target_draws") != "held":
        return None
    return (
        f"best_of={best_of} draws at each decision, but sac.target_draws=held: the critics value a chunk as if later "
        "decisions deviated from the actor as it does; train with draws=fresh to play the best of N by its own values"
    )
