"""The golden ticket: its plan by hand, its worlds paired, and the best constant noise found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from toys.countdown import CountdownTask, EchoPolicy
from toys.guess import Echo, Guess
from toys.runs import toy_parts

from dsrl.noise.full import FullNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import FIRST_DRAWN_SEED, NoiseActionEnv, NoiseSpace
from dsrl.run import train as workflow
from dsrl.run.build import check_budget
from dsrl.run.console import Screen
from dsrl.run.folder import RunFolder
from dsrl.sac.golden_ticket import GoldenTicket, build_golden_ticket
from dsrl.training.successive_halving import Searcher, plan, search


class Score:
    def __init__(self, score):
        self.score = score

    def summary(self):
        return {"mean_return": self.score}


def searched(env, ticket, decisions, scores=(), seed=0):
    saved, logged, answers = [], [], iter(scores)
    counters = search(
        env=env,
        searcher=ticket,
        decisions=decisions,
        evaluate=lambda: Score(next(answers, 0.0)),
        log=lambda metrics, counters: logged.append(metrics),
        save=saved.append,
        seed=seed,
    )
    return counters, saved, logged


def test_each_round_halves_the_candidates_and_spends_the_same():
    assert plan(8, decisions=480, longest=4) == [(8, 5), (4, 10), (2, 20)]
    assert plan(5, decisions=360, longest=2) == [(5, 12), (3, 20), (2, 30)]
    assert plan(2, decisions=4, longest=2) == [(2, 1)]
    with pytest.raises(ValueError, match=r"decisions=95 .* of 8 candidates .* type decisions=96 or more, or a smaller"):
        plan(8, decisions=95, longest=4)


def test_the_candidate_of_the_highest_return_is_found_and_never_more_is_played_than_allowed():
    """In the countdown the reward of a step is the first number of its action: the chunk's noise plus steps taken."""
    env = NoiseActionEnv(CountdownTask(3), EchoPolicy(), FullNoise((4, 2), 1.5, None), 4)
    env.has_success = False
    candidates = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    candidates[4, ::2] = 3.0
    counters, saved, logged = searched(env, ticket := GoldenTicket(candidates), 120, scores=(0.5, 0.2, 0.9))
    np.testing.assert_array_equal(ticket.ticket, candidates[4])
    assert counters.decisions <= 120
    assert counters.gradient_steps == 0
    assert counters.episodes == sum(num * worlds for num, worlds in plan(6, 120, 2))
    assert saved == ["best", "last", "last", "best", "last"]
    assert [m["search/candidates"] for m in logged if "search/candidates" in m] == [6, 3, 2]


def test_all_candidates_of_a_round_play_the_same_worlds():
    env = NoiseActionEnv(CountdownTask(3), EchoPolicy(), FullNoise((4, 2), 1.5, None), 4)
    played, reset = [], env.reset
    env.reset = lambda env_id=None, seeds=None: played.extend(seeds) or reset(env_id, seeds)
    searched(env, GoldenTicket(np.zeros((2, 8), np.float32)), 20)
    assert len(played) == 2 * 5
    assert played[0::2] == played[1::2]
    assert len(set(played)) == 5
    assert min(played) >= FIRST_DRAWN_SEED


def test_success_decides_where_it_is_known_and_a_seed_decides_everything():
    def run(seed):
        env = NoiseActionEnv(Guess(4, max_steps=2), Echo(), RepeatNoise((2, 1), 1.0, None), 2)
        ticket = GoldenTicket(np.array([[0.0], [1.0]], np.float32))  # 0 never succeeds
        counters, _, logged = searched(env, ticket, 40, seed=seed)
        return ticket.ticket[0], counters, logged

    assert run(0)[0] == 1.0
    assert run(0) == run(0)


def test_a_whole_run_finds_a_ticket_and_too_small_a_budget_is_refused_before_any_simulation(tmp_path):
    def make_algorithm():
        torch.manual_seed(0)
        return build_golden_ticket(None, NoiseSpace(1, 1.0), candidates=4)

    parts = dataclasses.replace(toy_parts(), make_algorithm=make_algorithm)
    folder = RunFolder(tmp_path)
    score = workflow.train(parts, folder, [], Screen())
    assert score == 0.5  # a constant guess fits half of the worlds
    assert folder.load("best")["ticket"].shape == (1,)
    check_budget(parts, print)
    settings = dataclasses.replace(parts.settings, decisions=7)
    with pytest.raises(ValueError, match=r"type decisions=8 or more, or a smaller sac.candidates"):
        check_budget(dataclasses.replace(parts, settings=settings), print)


def test_the_ticket_is_played_everywhere_and_can_be_saved():
    torch.manual_seed(0)
    ticket = build_golden_ticket(Box(-1, 1, (3,)), NoiseSpace(4, 1.0), candidates=1000)
    assert isinstance(ticket, Searcher)
    assert ticket.candidates.shape == (1000, 4)
    assert np.abs(ticket.candidates).max() > 2.0  # the prior, whatever the box
    ticket.choose(7)
    np.testing.assert_array_equal(ticket.act(np.zeros((2, 3), np.float32)), ticket.candidates[[7, 7]])
    other = GoldenTicket(np.zeros((2, 4), np.float32))
    other.load_state_dict(ticket.state_dict())
    np.testing.assert_array_equal(other.ticket, ticket.candidates[7])
    with pytest.raises(ValueError, match=r"sac.candidates=1 must be at least 2"):
        build_golden_ticket(Box(-1, 1, (3,)), NoiseSpace(4, 1.0), candidates=1)
