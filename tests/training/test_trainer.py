"""The training loop on the countdown task: what it counts, when it saves, and that a seed decides everything."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy, RestorableCountdown
from toys.monitor import Recording

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.metrics import Counters, EpisodeStats, UpdateStats
from dsrl.training.trainer import Trainer


class Run:
    """A short run, with the monitor that recorded it."""

    def __init__(
        self,
        scores=(0.4, 0.5, 0.75, 0.25),
        wrap=lambda algorithm: algorithm,
        should_stop=False,
        task=CountdownTask,
        discount_at_limit=1.0,
        draws="fresh",
        **changes,
    ):
        policy = EchoPolicy()
        self.env = NoiseActionEnv(task(3), policy, FullNoise(policy.noise_shape, 1.5, None), 4)
        learning = {"alpha": "auto", "critic_warmup_updates": 2, "discount_at_limit": discount_at_limit}
        self.algorithm = build_algorithm("dsrl_sac", self.env, exploration=draws, target_draws=draws, **learning)
        self.monitor = Recording(
            scores,
            before_validation=lambda: self.env.reset(seeds=[1, 2, 3]),  # validation uses the same worlds
            should_stop=should_stop,
        )
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
        self.trainer = Trainer(self.env, wrap(self.algorithm), self.monitor, **(options | changes))
        self.counters = self.trainer.train()


def test_the_counters_separate_decisions_env_steps_gradient_steps_and_episodes():
    run = Run()
    assert run.counters.decisions == 45
    assert run.counters.gradient_steps == 2 + int(0.5 * (45 - 12))
    assert 0 < run.counters.episodes < 45
    assert 45 < run.counters.env_steps < 4 * 45
    first = run.monitor.rounds[0]
    assert first == Counters(first.env_steps, 3, 0, first.episodes)
    assert len(run.monitor.rounds) == 15
    assert run.monitor.rounds[-1] == run.counters


def test_every_validation_saves_last_and_only_unbeaten_ones_save_best():
    assert Run().monitor.saved == ["best", "last"] * 3 + ["last"]
    assert Run(scores=(0.5, 0.5, 0.5, 0.5)).monitor.saved == ["best", "last"] * 4


class SparseCountdown(CountdownTask):
    """The countdown where success alone is paid."""

    def step(self, action):
        step = super().step(action)
        return replace(step, reward=step.success.float())


def test_a_discount_that_warm_up_lowers_is_noted_once():
    """Episodes that run out of time take two decisions: 6 steps of which a chunk executes 4."""
    assert Run(task=SparseCountdown).monitor.notes == []
    assert Run(discount_at_limit=0.5).monitor.notes == []  # paid on the way, too
    (note,) = Run(task=SparseCountdown, discount_at_limit=0.5).monitor.notes
    assert note == (
        "gamma lowered from 0.9 to 0.707: episodes are short, and a success at the time limit now counts 0.707 of one "
        "at once (sac.discount_at_limit)"
    )


def test_metrics_come_with_the_counters_of_their_time():
    monitor = Run().monitor
    evaluations = [
        (metrics["eval/success_rate"], counters.decisions)
        for metrics, counters in monitor.logged
        if "eval/success_rate" in metrics
    ]
    assert evaluations == [(0.4, 12), (0.5, 15), (0.75, 30), (0.25, 45)]  # the first after warm-up
    assert [counters.decisions for counters in monitor.validated] == [12, 15, 30, 45]
    evaluation = next(metrics for metrics, _ in monitor.logged if "eval/success_rate" in metrics)
    assert evaluation == {
        "eval/successes": 8.0,
        "eval/episodes": 20.0,
        "eval/success_rate": 0.4,
        "eval/mean_return": 0.4,
        "eval/mean_length": 1.0,
    }
    diagnostics = [counters.decisions for metrics, counters in monitor.logged if "diagnostics/chunk_std" in metrics]
    assert diagnostics == [12, 15, 30, 45]
    last = monitor.logged[-3][0]
    assert {"train/return", "train/success_rate", "learn/critic_loss", "learn/alpha", "learn/entropy"} <= set(last)


def test_validations_wait_until_an_episode_could_end_in_each_world():
    """Episodes take up to two decisions in each of three worlds."""
    run = Run(scores=(0.5,) * 7, eval_every=5)
    assert [counters.decisions for counters in run.monitor.validated] == [12, 18, 24, 30, 36, 42, 45]


def test_the_monitor_can_end_training_after_a_validation_of_a_moving_actor():
    run = Run(should_stop=True)
    assert [counters.decisions for counters in run.monitor.validated] == [12, 15]
    assert run.counters.decisions == 15
    assert run.monitor.saved[-1] == "last"


def test_the_same_seed_trains_the_same_networks_to_the_last_bit():
    first, second, other = Run(), Run(), Run(seed=1)
    states = [run.algorithm.policy.state_dict() for run in (first, second, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())
    assert first.monitor.logged == second.monitor.logged
    assert first.counters == second.counters


def test_a_clock_that_is_set_back_in_the_midst_of_play_changes_nothing(monkeypatch):
    readings = iter(range(0, -(10**9), -3600))  # s
    undisturbed = Run()
    monkeypatch.setattr("time.time", lambda: next(readings))
    assert Run().monitor.logged == undisturbed.monitor.logged


class Exploding:
    """An algorithm whose critics return NaN after warm-up."""

    def __init__(self, algorithm):
        self.algorithm, self.policy, self.replay, self.bounded = algorithm, algorithm.policy, "noise", True
        self.act, self.state_dict = algorithm.act, algorithm.state_dict

    def warm_up(self, buffer, batch_size):
        return []

    def learn(self, buffer, batch_size, updates):
        self.algorithm.critic.head.bias.data.fill_(float("nan"))
        return self.algorithm.learn(buffer, batch_size, updates)


def test_a_number_that_is_not_finite_stops_training_by_name():
    with pytest.raises(FloatingPointError, match="critic_loss is nan after 3 gradient steps; lower the learning rates"):
        Run(wrap=Exploding, utd=1.0)


def test_impossible_budgets_are_refused():
    with pytest.raises(ValueError, match="warmup_decisions=45 must be below decisions=45"):
        Run(warmup_decisions=45)
    with pytest.raises(ValueError, match="buffer_size=2 must be at least the 3 worlds"):
        Run(buffer_size=2)


class OneCheckpoint:
    """A checkpointer that offers the state of a previous process, and takes one of its own after a round."""

    def __init__(self, previous=None, after=None):
        self.previous, self.after, self.state = previous, after, None

    def restored(self, decisions):
        pass

    def save_at_reset(self, state, decisions, updates=0):
        pass

    def prepared(self, state, decisions, updates=0):
        return lambda: None

    def save_if_due(self, state, decisions, updates=0):
        if decisions == self.after:
            self.state = deepcopy(state())


@pytest.mark.parametrize("after", [9, 18])  # decisions: during warm-up, and while the actor plays
def test_a_trainer_that_continues_in_new_episodes_counts_and_validates_like_one_that_was_not_stopped(after):
    first = Run(checkpointer=(checkpoints := OneCheckpoint(after=after)))
    assert not checkpoints.state["exact"]  # the countdown cannot be saved in mid-episode
    second = Run(checkpointer=OneCheckpoint(previous=checkpoints.state))
    assert second.counters.decisions == first.counters.decisions
    assert second.counters.gradient_steps == first.counters.gradient_steps
    validated = [counters.decisions for counters in first.monitor.validated]
    assert [counters.decisions for counters in second.monitor.validated] == [at for at in validated if at > after]


@pytest.mark.parametrize("draws", ["fresh", "held"])
@pytest.mark.parametrize(("after", "every"), [(3, 15), (9, 15), (18, 15), (21, 15), (36, 15), (15, 5)])
def test_a_trainer_that_continues_in_restored_worlds_ends_with_the_same_networks_to_the_last_bit(after, every, draws):
    scores, checkpoints = (0.5,) * 7, OneCheckpoint(after=after)
    first = Run(scores, task=RestorableCountdown, checkpointer=checkpoints, draws=draws, eval_every=every)
    assert checkpoints.state["exact"]
    previous = OneCheckpoint(previous=checkpoints.state)
    second = Run(scores, task=RestorableCountdown, checkpointer=previous, draws=draws, eval_every=every)
    assert second.counters == first.counters
    assert second.monitor.logged == [entry for entry in first.monitor.logged if entry[1].decisions > after]
    continued = second.algorithm.policy.state_dict()
    assert all(torch.equal(value, continued[name]) for name, value in first.algorithm.policy.state_dict().items())


def test_the_statistics_of_episodes_and_updates_are_restored_from_their_state():
    stats, updates = EpisodeStats(3, has_success=True), UpdateStats()
    run = Run()
    state = run.trainer.stats.state_dict()
    stats.load_state_dict(state)
    assert stats.counters == run.counters == Counters(**state["counters"])
    assert stats.state_dict() == state
    assert stats.recent() == run.trainer.stats.recent() != {}
    updates.load_state_dict({"rounds": [{"learn/q": 1.0}, {"learn/q": 3.0, "learn/alpha": 0.5}]})
    assert updates.take() == {"learn/q": 2.0, "learn/alpha": 0.5}
    assert updates.take() == {}
    assert asdict(run.counters) == state["counters"]


def test_an_episode_that_has_succeeded_once_is_a_success_in_statistics_and_replay():
    stats = EpisodeStats(2, has_success=True)
    for decision, success in enumerate([(False, False), (True, False), (False, False)]):
        info = Batch(success=np.array(success), env_steps=np.ones(2, int))
        rollout = Batch(rew=np.zeros(2), done=np.array([decision == 2] * 2), info=info)
        stats.update(rollout)
        assert rollout.info.success.tolist() == [decision >= 1, False]
        restored = EpisodeStats(2, has_success=True)
        restored.load_state_dict(stats.state_dict())
        stats = restored
    assert stats.recent()["train/success_rate"] == 0.5
    info = Batch(success=np.array([False, True]), env_steps=np.ones(2, int))
    stats.update(rollout := Batch(rew=np.zeros(2), done=np.array([True, True]), info=info))
    assert rollout.info.success.tolist() == [False, True]  # a new episode


@pytest.mark.parametrize(("draws", "constant"), [("fresh", False), ("held", True)])
def test_with_held_exploration_an_actor_that_does_not_move_plays_one_noise_in_each_episode(draws, constant):
    buffer = Run(draws=draws, utd=0.0, warmup_decisions=3).trainer.buffer
    noises = {}
    for row in buffer.sample_indices(0)[3:]:  # after warm-up
        noises.setdefault(int(buffer.info.seed[row]), []).append(tuple(buffer.act[row]))
    episodes = [noise for noise in noises.values() if len(noise) > 1]
    assert len(episodes) > 2
    assert all((len(set(noise)) == 1) is constant for noise in episodes)
    assert len({noise[0] for noise in episodes}) == len(episodes)
