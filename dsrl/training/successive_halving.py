"""Choosing among fixed candidates by play alone: successive halving on paired worlds.

    K candidates  --- the same new worlds for all --->  scores so far  --- the better half --->  K/2 candidates ...

Every round gets an equal share of the decisions, so that fewer candidates meet more worlds each
(successive halving, Karnin et al., ICML 2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from dsrl.evaluation.diagnostics import diagnose
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.files import Tree
from dsrl.training import random_state as snapshot
from dsrl.training.metrics import Counters, Metrics
from dsrl.training.trainer import Evaluated, Keeper, numbers

Floats = NDArray[np.float32]


@runtime_checkable
class Searcher(Protocol):
    """An algorithm that has candidates instead of gradients."""

    candidates: Floats  # [K, dim] noise vectors

    def choose(self, index: int) -> None:
        """Play candidate `index` from now on."""

    def act(self, features: Floats, normal: Floats | None = None) -> Floats:
        """Its noise vector for each of the features [n, F]: [n, dim]."""


def search(
    *,
    env: NoiseActionEnv,
    searcher: Searcher,
    decisions: int,
    evaluate: Callable[[], Evaluated],
    log: Callable[[Metrics, Counters], None],
    save: Callable[[Literal["best", "last"]], None],
    seed: int,
    on_progress: Callable[[Counters, Metrics], None] | None = None,
    keeper: Keeper | None = None,
) -> Counters:
    """Find the best of `searcher.candidates` in `decisions` decisions at most.

    After each round the leader is chosen, evaluated and saved as "last", and as "best" if its evaluation was never
    beaten. The result depends on nothing but `seed`, the parts and their state. With a `keeper` it goes on after the
    round that a former search ended last. Nothing is learnt that could be lost again, so no guard against a collapse is
    needed. Raises ValueError where some candidate would meet no world.
    """
    rounds = plan(len(searcher.candidates), decisions, env.longest_episode)
    snapshot.start_randomness(seed, env)
    tally = _Tally(env, searcher.candidates, on_progress or (lambda counters, metrics: None))
    alive: NDArray[np.int64] = np.arange(len(searcher.candidates))
    best, ended = -float("inf"), 0
    former = None if keeper is None else keeper.former
    if former is not None:
        alive, best, ended = former["alive"].numpy(), former["best"], former["ended"]
        searcher.choose(former["leader"])
        tally.restore(former["tally"])
        snapshot.restore_randomness(former["random"], env)

    for num, worlds in rounds[ended:]:
        alive = tally.ranked(alive)[:num]
        tally.play(alive, worlds)
        leader = int(tally.ranked(alive)[0])
        searcher.choose(leader)
        figures = {"candidates": num, "worlds_each": int(tally.worlds[leader]), "leader": tally.score[leader]}
        log({f"search/{name}": float(value) for name, value in figures.items()}, tally.counters)
        log(diagnose(env, searcher), tally.counters)
        result = evaluate()
        log(numbers(result.summary()), tally.counters)
        if result.score >= best:
            best = result.score
            save("best")
        save("last")
        ended += 1
        if keeper is not None:
            state = {"alive": torch.from_numpy(alive), "best": best, "ended": ended, "leader": leader}
            state |= {"tally": tally.state(), "random": snapshot.randomness(env)}
            take: Callable[[], Tree] = partial(dict, state)
            keeper.border(take, tally.counters.decisions)
            keeper.pause(take, tally.counters.decisions)
    return tally.counters


def plan(candidates: int, decisions: int, longest: int) -> list[tuple[int, int]]:
    """(candidates alive, new worlds for each) per round, for episodes of `longest` decisions at most.

    Raises ValueError where a round has no world for each of its candidates.
    """
    alive = [candidates]
    while alive[-1] > 2:
        alive.append(math.ceil(alive[-1] / 2))
    worlds = [decisions // len(alive) // (num * longest) for num in alive]
    if min(worlds) < 1:
        raise ValueError(
            f"decisions={decisions} lets not every one of {candidates} candidates play a world of up to {longest} "
            f"decisions; type decisions={len(alive) * candidates * longest} or more, or a smaller sac.candidates"
        )
    return list(zip(alive, worlds, strict=True))


@dataclass
class _Job:
    """One candidate in one world."""

    candidate: int
    seed: int


class _Tally:
    """How each candidate fared in all of its worlds so far."""

    def __init__(self, env: NoiseActionEnv, candidates: Floats, report: Callable[[Counters, Metrics], None]) -> None:
        self.env, self.candidates, self.report = env, candidates, report
        self.counters = Counters()
        self.worlds, self._points = np.zeros(len(candidates)), np.zeros(len(candidates))

    def state(self) -> Tree:
        """All that it holds."""
        figures = {"worlds": self.worlds, "points": self._points}
        return {"counters": asdict(self.counters), **{k: torch.from_numpy(v.copy()) for k, v in figures.items()}}

    def restore(self, state: Tree) -> None:
        """Take over what another one held."""
        self.counters = Counters(**state["counters"])
        self.worlds[:], self._points[:] = state["worlds"].numpy(), state["points"].numpy()

    @property
    def score(self) -> NDArray[np.float64]:
        """Success rate (mean return where success is not known) per candidate; 0 before its first world."""
        score: NDArray[np.float64] = self._points / np.maximum(self.worlds, 1)
        return score

    def ranked(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """The candidates, best first; ties keep their order."""
        return candidates[np.argsort(-self.score[candidates], kind="stable")]

    def play(self, candidates: NDArray[np.int64], worlds: int) -> None:
        """Let every one of `candidates` play the same `worlds` new worlds."""
        seeds = self.env.draw_seeds(worlds)
        jobs = [_Job(int(candidate), int(seed)) for seed in seeds for candidate in candidates]
        for start in range(0, len(jobs), len(self.env)):
            self._play_side_by_side(jobs[start : start + len(self.env)])
            leader = float(self.score[candidates].max())
            name = "train/success_rate" if self.env.has_success else "train/return"
            self.report(self.counters, {name: leader})

    def _play_side_by_side(self, jobs: list[_Job]) -> None:
        rows: NDArray[np.int64] = np.arange(len(jobs))
        chosen = np.array([job.candidate for job in jobs])
        self.env.reset(env_id=rows, seeds=[job.seed for job in jobs])
        while len(rows):
            noise = self.candidates[chosen[rows]]
            _, reward, terminated, truncated, info = self.env.step(noise, rows)
            points = [float(one["success"]) for one in info] if self.env.has_success else reward
            np.add.at(self._points, chosen[rows], points)
            ended = terminated | truncated
            np.add.at(self.worlds, chosen[rows[ended]], 1)
            self.counters = replace(
                self.counters,
                env_steps=self.counters.env_steps + sum(int(one["env_steps"]) for one in info),
                decisions=self.counters.decisions + len(rows),
                episodes=self.counters.episodes + int(ended.sum()),
            )
            rows = rows[~ended]
