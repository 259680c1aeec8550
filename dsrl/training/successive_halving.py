"""Chooses among fixed candidates by play alone: successive halving on paired worlds.

    K candidates  --- the same new worlds for all --->  scores so far  --- the better half --->  K/2 candidates ...

Every round gets an equal share of the decisions, so that fewer candidates play more worlds each
(successive halving, Karnin et al., ICML 2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dsrl.evaluation.noise_sources import expanded
from dsrl.interfaces import StateDict
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.loop import Checkpointer, Monitor, NoCheckpoints, Validator, restoring
from dsrl.training.metrics import Counters, Metrics
from dsrl.training.random_state import load_random_state_dict, random_state_dict, seed_everything
from dsrl.training.restored_numbers import check_count


class SuccessiveHalving:
    """Finds the best of `searcher.candidates`; the result depends only on `seed`, the parts and their state."""

    def __init__(
        self,
        env: NoiseActionEnv,
        searcher: Any,
        monitor: Monitor,
        *,
        decisions: int,
        seed: int,
        checkpointer: Checkpointer | None = None,
    ) -> None:
        """Search with `decisions` decisions at most; with a `checkpointer`, continue after a previous process.

        Raises ValueError where some candidate would play no world.
        """
        self.rounds = plan(len(searcher.candidates), decisions, env.longest_episode)
        self.env, self.searcher, self.monitor = env, searcher, monitor
        self._checkpointer: Checkpointer = checkpointer or NoCheckpoints()
        seed_everything(seed)
        env.seed(seed)
        self._tally = _Tally(env, searcher.candidates, monitor.show)
        self._validator = Validator(env, searcher, monitor)
        self._alive = torch.arange(len(searcher.candidates))
        self._ended = 0  # rounds

    def train(self) -> Counters:
        """Play all rounds, or those that a previous process left.

        After each, the leader is chosen, validated and saved. Play changes no candidate, so that training
        cannot collapse and never ends early.
        """
        if self._checkpointer.previous is not None:
            with restoring():
                self.load_state_dict(self._checkpointer.previous)
                self._checkpointer.restored(self._tally.counters.decisions)
        for num, worlds in self.rounds[self._ended :]:
            self._alive = self._tally.ranked(self._alive)[:num]
            self._tally.play(self._alive, worlds)
            leader = int(self._tally.ranked(self._alive)[0])
            self.searcher.choose(leader)
            metrics = {
                "search/candidates": float(num),
                "search/worlds_each": float(self._tally.worlds[leader]),
                "search/leader": float(self._tally.score[leader]),
            }
            self.monitor.log(metrics, self._tally.counters)
            self._validator.diagnose(self._tally.counters)
            self._validator.validate(self._tally.counters)
            self._ended += 1
            self._checkpointer.save_at_reset(self.state_dict, self._tally.counters.decisions)
            self._checkpointer.save_if_due(self.state_dict, self._tally.counters.decisions)
        return self._tally.counters

    def state_dict(self) -> StateDict:
        """Return candidates alive, the leader, scores so far and random states."""
        return {
            "exact": True,  # all episodes have ended between rounds
            "searcher": self.searcher.state_dict(),
            "alive": self._alive,
            "ended": self._ended,
            "tally": self._tally.state_dict(),
            "validator": self._validator.state_dict(),
            "env": self.env.state_dict()["random"],
            "random": random_state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.searcher.load_state_dict(state["searcher"])
        self._alive, self._ended = state["alive"], state["ended"]
        check_count("ended", self._ended, len(self.rounds))
        self._tally.load_state_dict(state["tally"])
        self._validator.load_state_dict(state["validator"])
        self.env.load_random_state(state["env"])
        load_random_state_dict(state["random"])


def plan(candidates: int, decisions: int, longest: int) -> list[tuple[int, int]]:
    """Return (candidates alive, new worlds for each) per round, for episodes of `longest` decisions at most.

    Raises ValueError where a round has no world for each of its candidates.
    """
    alive = [candidates]
    while alive[-1] > 2:
        alive.append(math.ceil(alive[-1] / 2))
    worlds = [decisions // len(alive) // (num * longest) for num in alive]
    if min(worlds) < 1:
        raise ValueError(
            f"decisions={decisions} does not suffice for each of {candidates} candidates to play a world of up to "
            f"{longest} decisions; type decisions={len(alive) * candidates * longest} or more, or a smaller "
            "sac.candidates"
        )
    return list(zip(alive, worlds, strict=True))


@dataclass
class _Job:
    """One candidate in one world."""

    candidate: int
    seed: int


class _Tally:
    """The results of each candidate in all of its worlds so far."""

    def __init__(self, env: NoiseActionEnv, candidates: Tensor, show: Callable[[Counters, Metrics], None]) -> None:
        self.env, self.candidates, self.show = env, candidates, show
        self.counters = Counters()
        self.worlds = torch.zeros(len(candidates), dtype=torch.float64)
        self._points = torch.zeros(len(candidates), dtype=torch.float64)

    def state_dict(self) -> StateDict:
        return {"counters": asdict(self.counters), "worlds": self.worlds.clone(), "points": self._points.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.counters = Counters.from_dict(state["counters"])
        self.worlds, self._points = state["worlds"].clone(), state["points"].clone()

    @property
    def score(self) -> Tensor:
        """Success rate (mean return without a success criterion) per candidate; 0 before its first world."""
        return self._points / self.worlds.clamp(min=1)

    def ranked(self, candidates: Tensor) -> Tensor:
        """Sort candidates, best first; ties stay in order."""
        return candidates[torch.argsort(-self.score[candidates], stable=True)]

    def play(self, candidates: Tensor, worlds: int) -> None:
        """Play the same `worlds` new worlds with every one of `candidates`."""
        seeds = self.env.draw_seeds(worlds)
        jobs = [_Job(candidate, seed) for seed in seeds for candidate in candidates.tolist()]
        for start in range(0, len(jobs), len(self.env)):
            self._play_side_by_side(jobs[start : start + len(self.env)])
            leader = float(self.score[candidates].max())
            self.show(self.counters, {"train/success_rate" if self.env.has_success else "train/return": leader})

    def _play_side_by_side(self, jobs: list[_Job]) -> None:
        rows = torch.arange(len(jobs))
        chosen = torch.tensor([job.candidate for job in jobs])
        self.env.reset_worlds(rows, [job.seed for job in jobs])
        points = torch.zeros(len(jobs), dtype=torch.float64)  # of each job so far
        decision = 0
        while len(rows):
            seeds = [jobs[row].seed for row in rows.tolist()]
            vectors = self.candidates[chosen[rows]]
            noise = expanded(self.env.noise, vectors, seeds, decision)  # unsteered numbers are paired like worlds
            outcome = self.env.decide(noise, rows)
            ended = outcome.terminated | outcome.truncated
            if self.env.has_success:  # once is enough, however long it lasts
                points[rows] = points[rows].maximum(outcome.success.double())
            else:
                points[rows] += outcome.reward
            self._points.index_add_(0, chosen[rows[ended]], points[rows[ended]])
            self.worlds.index_add_(0, chosen[rows[ended]], torch.ones(int(ended.sum()), dtype=torch.float64))
            self.counters = self.counters.after(
                env_steps=int(outcome.env_steps.sum()), decisions=len(rows), episodes=int(ended.sum())
            )
            rows, decision = rows[~ended], decision + 1
