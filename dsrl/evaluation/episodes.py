"""Paired evaluation: world i is seed `first_seed + i` for every policy, so that two policies meet the same worlds.

Where seeds do not repeat a task's worlds, as those of a real robot, `starts` of two evaluations differ.

seeds -> reset_worlds -> Encoding -> act(encoding, seeds, decision) -> noise [n, T', D] -> decide -> ... -> Evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dsrl.edits import EditsChunks
from dsrl.evaluation.noise_sources import Act
from dsrl.evaluation.starts import agree, starts_of
from dsrl.noise_action_env import NoiseActionEnv

COLUMNS = {
    "seeds": (int,),
    "successes": (bool,),
    "returns": (float, int),
    "lengths": (int,),
    "instructions": (str,),
    "starts": (float, int),
}
OPTIONAL = ("instructions", "starts")  # may be empty


@dataclass(frozen=True)
class Evaluation:
    """The result of every world; the i-th entries belong to world `seeds[i]`."""

    seeds: tuple[int, ...]
    successes: tuple[bool, ...] | None  # None for tasks without a success criterion
    returns: tuple[float, ...]
    lengths: tuple[int, ...]  # control steps until the world's end
    instructions: tuple[str, ...] = ()  # at the start
    starts: tuple[float, ...] = ()  # see `starts_of`; none of tasks without a state, nor in files of earlier versions

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Restore `to_dict`. Raises ValueError or TypeError for columns that no evaluation has."""
        fields: dict[str, Any] = {name: None if values is None else tuple(values) for name, values in plain.items()}
        restored = cls(**fields)
        restored._check()
        return restored

    def to_dict(self) -> dict[str, Any]:
        """Return all results as lists by name."""
        return {name: None if values is None else list(values) for name, values in vars(self).items()}

    def _check(self) -> None:
        for name, kinds in COLUMNS.items():
            column = getattr(self, name)
            if (column is None and name == "successes") or (column == () and name in OPTIONAL):
                continue
            if len(column) != len(self.seeds) or not all(type(value) in kinds for value in column):
                raise ValueError(f"{name} are not {len(self.seeds)} of {' or '.join(kind.__name__ for kind in kinds)}")
        if not np.isfinite(self.returns).all():
            raise ValueError("returns are not all finite")
        if not np.isfinite(self.starts).all():
            raise ValueError("starts are not all finite")

    @property
    def score(self) -> float:
        """The success rate, or the mean return of a task without a success criterion."""
        return float(np.mean(self.returns if self.successes is None else self.successes))

    @property
    def failures(self) -> tuple[int, ...]:
        """The seeds of the worlds without success; none where success is not defined."""
        return tuple(seed for seed, won in zip(self.seeds, self.successes or (), strict=False) if not won)

    def same_worlds(self, other: Evaluation) -> bool:
        """Return whether another evaluation met the same worlds: the same seeds, and starts that agree."""
        return self.seeds == other.seeds and agree(self.starts, other.starts)

    def only(self, instruction: str) -> Evaluation:
        """Select the worlds with one instruction."""
        worlds = [i for i, text in enumerate(self.instructions) if text == instruction]
        columns = {name: column and [column[i] for i in worlds] for name, column in vars(self).items()}
        return Evaluation.from_dict(columns)


def evaluate(
    env: NoiseActionEnv,
    act: Act,
    *,
    episodes: int,
    first_seed: int,
    on_progress: Callable[[Evaluation], None] | None = None,
) -> Evaluation:
    """Play the worlds `first_seed … first_seed + episodes - 1`, `len(env)` at a time, one episode each."""
    done: Evaluation | None = None
    for start in range(first_seed, first_seed + episodes, len(env)):
        played = play_worlds(env, act, range(start, min(start + len(env), first_seed + episodes)))
        done = concatenated(done, played)
        if on_progress is not None:
            on_progress(done)
    assert done is not None, "episodes is at least 1"
    return done


def play_worlds(env: NoiseActionEnv, act: Act, seeds: Sequence[int]) -> Evaluation:
    """Play one episode in each of the given worlds, at most `len(env)`, side by side in the first rows."""
    num = len(seeds)
    rows = torch.arange(num)
    returns, lengths = torch.zeros(num, dtype=torch.float64), torch.zeros(num, dtype=torch.int64)
    successes = torch.zeros(num, dtype=torch.bool)
    env.reset_worlds(rows, seeds)
    assert env.observed is not None
    first = env.observed[rows]
    instructions, starts = first.instruction, starts_of(first.state)
    editor = act if isinstance(act, EditsChunks) else None
    decision = 0
    while len(rows):
        assert env.encoding is not None
        noise = act(env.encoding[rows], [seeds[int(row)] for row in rows], decision)
        outcome = env.decide(noise, rows, editor, observe_truncated=False)
        returns[rows] += outcome.reward
        lengths[rows] += outcome.env_steps
        successes[rows] |= outcome.success
        rows, decision = rows[~(outcome.terminated | outcome.truncated)], decision + 1
    known = tuple(successes.tolist()) if env.has_success else None
    return Evaluation(tuple(seeds), known, tuple(returns.tolist()), tuple(lengths.tolist()), instructions, starts)


def repeated(evaluations: Iterable[Evaluation]) -> bool:
    """Return whether seeds repeated the worlds from one evaluation to the next."""
    first, *others = evaluations
    return all(first.same_worlds(other) for other in others)


def concatenated(first: Evaluation | None, second: Evaluation) -> Evaluation:
    """Join the evaluations of two sets of worlds; `first` None is the empty one."""
    if first is None:
        return second
    successes = None if second.successes is None else (first.successes or ()) + second.successes
    return replace(
        first,
        seeds=first.seeds + second.seeds,
        successes=successes,
        returns=first.returns + second.returns,
        lengths=first.lengths + second.lengths,
        instructions=first.instructions + second.instructions,
        starts=first.starts + second.starts,
    )
