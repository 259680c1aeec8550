"""Refuses choices that contradict each other.

method=sac_full suite=state_repeat          ->  which noise is meant?
experiment=simple_pick_state suite=hopper   ->  which task is meant?
suite=push_v3 policy=identity               ->  what does the suite's policy.path mean?
best_of=8 draws=held                        ->  is noise drawn once an episode, or at each decision?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dsrl.run.config.allow_list import UnknownOptionError
from dsrl.run.terminal import choices


def check_choices(typed: Mapping[str, str], chosen: Mapping[str, Any], folders: choices.Folders) -> None:
    """Raise ValueError for choices that contradict each other, where one would silently undo what the other names.

    folders: those in which the choices are, dsrl's own and those of hydra.searchpath.
    """
    for group, choice in chosen.items():
        if group in typed and str(choice).startswith("_"):
            raise ValueError(f"{group}={choice} is not known; choose one of {', '.join(choices.names(group))}")
    for other, choice in choices.chosen_by("method", str(chosen.get("method")), folders).items():
        if chosen.get(other) != choice and other not in typed:
            chooser = "suite" if other in choices.chosen_by("suite", str(chosen.get("suite")), folders) else "task"
            raise ValueError(
                f"method={chosen['method']} means {other}={choice} but {chooser}={chosen[chooser]} chooses "
                f"{other}={chosen[other]}; type {other}={choice} too, or another method"
            )
    for group in ("experiment", "suite"):
        named, task = choices.chosen_by(group, str(chosen.get(group)), folders).get("task"), chosen.get("task")
        if named is not None and named != task:
            other = "suite" if group == "experiment" else "experiment"
            leave = f"task={task}" if "task" in typed or other not in typed else f"{other}={chosen[other]}"
            raise ValueError(f"{group}={chosen[group]} is of task={named}; leave out {leave}, or the {group}")


def check_best_of_draws(best_of: int | None, sac: Mapping[str, Any], shared: Mapping[str, str]) -> None:
    """Raise ValueError where `best_of` would choose by values of noise that is held for an episode.

    `sac` are the algorithm's options; `shared` maps those that take the value of a key without a group to that key.
    """
    for key in ("exploration", "target_draws"):
        if best_of is not None and sac.get(key) == "held":
            name = shared.get(f"sac.{key}", f"sac.{key}")
            raise ValueError(
                f"{name}=held: best_of={best_of} plays the best of fresh draws at each decision; type {name}=fresh"
            )


@contextmanager
def naming_files(typed: Mapping[str, str], chosen: Mapping[str, Any]) -> Iterator[None]:
    """Name the choices whose files set an unknown option that nobody typed, and the word that removes it."""
    try:
        yield
    except UnknownOptionError as error:
        if any(f"{error.key}.".startswith(f"{key}.") for key in typed if key not in chosen):
            raise
        setter = " and ".join(choices.setting(error.key, chosen)) or "a file"
        raise ValueError(f"{error.key}, set by {setter}, is no option; {error.takes}; type ~{error.key} too") from error
