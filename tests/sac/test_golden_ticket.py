"""The golden ticket: its plan by hand, its worlds paired, and the best constant noise found."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from gymnasium.spaces import Box
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy
from toys.guess import Echo, Guess
from toys.monitor import Recording
from toys.runs import toy_parts

from dsrl.interfaces import Searcher
from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.space import NoiseSpace
from dsrl.noise_action_env import FIRST_DRAWN_SEED, NoiseActionEnv
from dsrl.run.components.build import check_budget
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError
from dsrl.run.train import steer
from dsrl.sac.golden_ticket import GoldenTicket, build_golden_ticket
from dsrl.training.metrics import Counters
from dsrl.training.successive_halving import SuccessiveHalving, plan


def searched(env, ticket, decisions, scores=(), seed=0) -> tuple[Counters, Recording]:
    monitor = Recording(scores)
    return SuccessiveHalving(env, ticket, monitor, decisions=decisions, seed=seed).train(), monitor


def countdown() -> NoiseActionEnv:
    return NoiseActionEnv(CountdownTask(3), EchoPolicy(), FullNoise((4, 2), 1.5, None), 4)


def test_each_round_halves_the_candidates_and_spends_the_same():
    assert plan(8, decisions=480, longest=4) == [(8, 5), (4, 10), (2, 20)]
    assert plan(5, decisions=360, longest=2) == [(5, 12), (3, 20), (2, 30)]
    assert plan(2, decisions=4, longest=2) == [(2, 1)]
    with pytest.raises(ValueError, match=r"decisions=95 .* of 8 candidates .* type decisions=96 or more, or a smaller"):
        plan(8, decisions=95, longest=4)


def test_the_candidate_of_the_highest_return_is_found_and_never_more_is_played_than_allowed():
    """In the countdown the reward of a step is the first number of its action: the chunk's noise plus steps taken."""
    env = countdown()
    env.has_success = False
    candidates = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    candidates[4, ::2] = 3.0
    counters, monitor = searched(env, ticket := GoldenTicket(candidates), 120, scores=(0.5, 0.2, 0.9))
    assert torch.equal(ticket.ticket, candidates[4])
    assert counters.decisions <= 120
    assert counters.gradient_steps == 0
    assert counters.episodes == sum(num * worlds for num, worlds in plan(6, 120, 2))
    assert monitor.saved == ["best", "last", "last", "best", "last"]
    rounds = [metrics["search/candidates"] for metrics, _ in monitor.logged if "search/candidates" in metrics]
    assert rounds == [6, 3, 2]
    assert monitor.rounds[-1] == counters


def test_all_candidates_of_a_round_play_the_same_worlds():
    env = countdown()
    played, reset_worlds = [], env.reset_worlds
    env.reset_worlds = lambda worlds, seeds: played.extend(seeds) or reset_worlds(worlds, seeds)
    searched(env, GoldenTicket(torch.zeros(2, 8)), 20)
    assert len(played) == 2 * 5
    assert played[0::2] == played[1::2]
    assert len(set(played)) == 5
    assert min(played) >= FIRST_DRAWN_SEED


def test_candidates_of_a_world_have_the_same_unsteered_noise():
    noise = FullNoise((4, 2), 1.5, 1, "fresh")
    env = NoiseActionEnv(CountdownTask(3), EchoPolicy(), noise, 4)
    env.has_success = False
    env.task.step = lambda action: dataclasses.replace(CountdownTask.step(env.task, action), reward=action[:, 1])
    scores = []
    for _ in range(2):
        search = SuccessiveHalving(env, GoldenTicket(torch.zeros(4, 4)), Recording(()), decisions=64, seed=0)
        search.train()
        scores.append(search._tally.score)
    assert len(set(scores[0][:2].tolist())) == 1  # both played all rounds
    assert scores[0][0] != 0
    assert torch.equal(scores[0], scores[1])


def test_success_decides_where_it_is_defined_and_a_seed_decides_everything():
    def run(seed):
        env = NoiseActionEnv(Guess(4, max_steps=2), Echo(), RepeatNoise((2, 1), 1.0, None), 2)
        ticket = GoldenTicket(torch.tensor([[0.0], [1.0]]))  # 0 never succeeds
        counters, monitor = searched(env, ticket, 40, seed=seed)
        return ticket.ticket.item(), counters, monitor.logged

    assert run(0)[0] == 1.0
    assert run(0) == run(0)


class Lasting(CountdownTask):
    """The countdown of a goal that is reached at once, and in which the worlds stay until their time is over."""

    def step(self, action):
        step = super().step(action)
        return dataclasses.replace(step, terminated=torch.zeros(3, dtype=torch.bool), success=self.taken == 1)


@pytest.mark.parametrize("lasts", [False, True])
def test_an_episode_that_succeeds_counts_once_whenever_and_however_long_it_does(lasts):
    task = Lasting(3)
    if lasts:
        task.step = lambda action: dataclasses.replace(Lasting.step(task, action), success=task.taken >= 1)
    env = NoiseActionEnv(task, EchoPolicy(), FullNoise((4, 2), 1.5, None), 2)
    _, monitor = searched(env, GoldenTicket(torch.zeros(2, 8)), 24)
    leaders = [metrics["search/leader"] for metrics, _ in monitor.logged if "search/leader" in metrics]
    assert leaders
    assert set(leaders) == {1.0}


def test_a_whole_run_finds_a_ticket_and_too_small_a_budget_is_refused_before_any_simulation(tmp_path):
    parts = toy_parts()
    parts = dataclasses.replace(parts, algorithm=build_algorithm("golden_ticket", parts.env))
    folder = RunFolder(tmp_path)
    steer(parts, folder, {}, Screen())
    summary = json.loads(folder.summary.read_text())
    assert summary["steered"]["success_rate"] == 0.5  # a constant guess fits half of the worlds
    assert folder.load("best")["ticket"].shape == (1,)
    check_budget(parts, print)
    settings = dataclasses.replace(parts.settings, decisions=7)
    with pytest.raises(UserError, match=r"type decisions=8 or more, or a smaller sac.candidates"):
        check_budget(dataclasses.replace(parts, settings=settings), print)


def test_the_ticket_is_played_everywhere_and_can_be_saved():
    torch.manual_seed(0)
    ticket = build_golden_ticket(Box(-1, 1, (3,)), NoiseSpace(4, 1.0), candidates=1000)
    assert isinstance(ticket, Searcher)
    assert ticket.candidates.shape == (1000, 4)
    assert ticket.candidates.abs().max() > 2.0  # the prior, whatever the box
    ticket.choose(7)
    assert torch.equal(ticket.act(torch.zeros(2, 3)), ticket.candidates[[7, 7]])
    other = GoldenTicket(torch.zeros(2, 4))
    other.load_state_dict(ticket.state_dict())
    assert torch.equal(other.ticket, ticket.candidates[7])
    with pytest.raises(ValueError, match=r"sac.candidates=1 must be at least 2"):
        build_golden_ticket(Box(-1, 1, (3,)), NoiseSpace(4, 1.0), candidates=1)
