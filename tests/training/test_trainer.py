"""The training loop on the countdown task: what it counts, when it saves, and that a seed decides everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.trainer import Counters, make_buffer, train


@dataclass
class Score:
    score: float

    def summary(self):
        return {"success_rate": self.score, "ci95": [0.0, 1.0], "mean_return": None}


class Run:
    """A short run and the arguments that its callbacks received."""

    def __init__(self, scores=(0.4, 0.5, 0.75, 0.25), wrap=lambda algorithm: algorithm, **changes):
        self.scores, self.saved, self.logged, self.rounds = iter(scores), [], [], []
        policy = EchoPolicy()
        self.env = NoiseActionEnv(CountdownTask(3), policy, FullNoise(policy.noise_shape, 1.5, None), 4)
        self.algorithm = build_algorithm("dsrl_sac", self.env, alpha="auto", critic_warmup_updates=2)
        options = {
            "decisions": 45,
            "warmup_decisions": 12,
            "utd": 0.5,
            "batch_size": 8,
            "buffer_size": 300,
            "eval_every": 15,
            "log_every": 6,
            "seed": 0,
        }
        self.counters = train(
            env=self.env,
            algorithm=wrap(self.algorithm),
            evaluate=self.evaluate,
            log=lambda metrics, counters: self.logged.append((metrics, counters)),
            save=self.saved.append,
            on_progress=lambda counters, metrics: self.rounds.append(counters),
            **(options | changes),
        )

    def evaluate(self):
        self.env.reset(seeds=[1, 2, 3])  # evaluation uses the same worlds
        return Score(next(self.scores))


def test_the_counters_tell_decisions_env_steps_gradient_steps_and_episodes_apart():
    run = Run()
    assert run.counters.decisions == 45
    assert run.counters.gradient_steps == 2 + int(0.5 * (45 - 12))
    assert 0 < run.counters.episodes < 45
    assert 45 < run.counters.env_steps < 4 * 45
    assert run.rounds[0] == Counters(run.rounds[0].env_steps, 3, 0, run.rounds[0].episodes)
    assert len(run.rounds) == 15


def test_every_evaluation_saves_last_and_only_unbeaten_ones_save_best():
    assert Run().saved == ["best", "last"] * 3 + ["last"]
    assert Run(scores=(0.5, 0.5, 0.5, 0.5)).saved == ["best", "last"] * 4


def test_metrics_come_with_their_clocks():
    logged = Run().logged
    evaluations = [(m, c.decisions) for m, c in logged if "eval/success_rate" in m]
    assert evaluations == [
        ({"eval/success_rate": 0.4}, 12),  # after warm-up
        ({"eval/success_rate": 0.5}, 15),
        ({"eval/success_rate": 0.75}, 30),
        ({"eval/success_rate": 0.25}, 45),
    ]
    diagnostics = [counters.decisions for metrics, counters in logged if "diagnostics/chunk_std" in metrics]
    assert diagnostics == [12, 15, 30, 45]
    last = logged[-3][0]
    assert {"train/return", "train/success_rate", "learn/critic_loss", "learn/alpha", "learn/entropy"} <= set(last)


def test_the_same_seed_trains_the_same_networks_to_the_last_bit():
    first, second, other = Run(), Run(), Run(seed=1)
    states = [run.algorithm.policy.state_dict() for run in (first, second, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())
    assert first.logged == second.logged


class Exploding:
    """An algorithm whose critics are lost after warm-up."""

    def __init__(self, algorithm):
        self.algorithm, self.policy, self.replay, self.bounded = algorithm, algorithm.policy, "noise", True
        self.act = algorithm.act

    def warm_up(self, buffer, batch_size):
        return []

    def learn(self, buffer, batch_size, updates):
        self.algorithm.critic.head.bias.data.fill_(float("nan"))
        return self.algorithm.learn(buffer, batch_size, updates)


def test_a_figure_that_is_not_finite_stops_training_by_name():
    with pytest.raises(FloatingPointError, match="critic_loss is nan after 3 gradient steps; lower the learning rates"):
        Run(wrap=Exploding, utd=1.0)


def test_impossible_budgets_are_refused():
    with pytest.raises(ValueError, match="warmup_decisions is 45 but decisions is 45; warm up for fewer"):
        Run(warmup_decisions=45)
    with pytest.raises(ValueError, match="buffer_size is 2 but there are 3 worlds"):
        Run(buffer_size=2)


def test_each_part_of_the_buffer_draws_from_its_own_seed():
    def draws(seed):
        buffer = make_buffer(300, 3, seed)
        flags = np.zeros(3, bool)
        for i in range(100):
            rows = np.full((3, 1), i, np.float32)
            buffer.add(
                Batch(
                    obs=rows,
                    obs_next=rows,
                    act=rows,
                    rew=np.zeros(3),
                    terminated=flags,
                    truncated=flags,
                    done=flags,
                    info=Batch(),
                ),
                buffer_ids=np.arange(3),
            )
        return buffer.sample_indices(64)

    assert np.array_equal(draws(0), draws(0))
    assert not np.array_equal(draws(0), draws(1))
