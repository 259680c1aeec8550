"""Edited chunks on their way: the environment executes them, replay stores them, evaluations play them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.monitor import Recording
from toys.runs import toy_parts

from dsrl.edits import EditsChunks
from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import EditedNoise, base_noise, evaluation_noise
from dsrl.interfaces import Encoding
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training.trainer import Trainer


class TowardsTheTarget:
    """Edits every action to the world's state, which is the target: always a success."""

    def edit(self, encoding: Encoding, chunk: Tensor) -> Tensor:
        assert chunk.shape[1:] == (1, 1)  # the executed part
        return encoding.features[:, None].clone()


def guessing(max_steps: int = 6) -> NoiseActionEnv:
    return NoiseActionEnv(Guess(4, max_steps), Echo(), RepeatNoise((2, 1), 1.0, None), horizon=1)


def test_the_environment_executes_and_records_the_edited_chunk_of_the_executed_part() -> None:
    env, rows = guessing(), torch.arange(4)
    env.reset_worlds(rows, [0, 3, 6, 9])
    wrong = -env.task.observe().state[:, None].expand(4, 2, 1)
    assert not env.decide(wrong, rows).success.any()
    assert env.decide(wrong, rows, TowardsTheTarget()).success.all()
    assert env.decision is not None
    torch.testing.assert_close(env.decision.chunk[:, 0], env.decision.before.features)


def test_steps_of_the_learner_are_edited_by_the_environments_editor() -> None:
    env = guessing()
    features, _ = env.reset(seeds=[0, 3, 6, 9])
    assert env.step(-features)[1].tolist() == [0.0] * 4
    env.editor = TowardsTheTarget()
    assert env.step(-features)[1].tolist() == [1.0] * 4


def test_an_evaluation_plays_the_edits_of_its_source_of_noise_and_no_others() -> None:
    env = guessing(max_steps=1)
    env.editor = TowardsTheTarget()  # of training
    assert 0.3 < evaluate(env, base_noise((2, 1)), episodes=100, first_seed=0).score < 0.7
    edited = EditedNoise(base_noise((2, 1)), TowardsTheTarget())
    assert evaluate(env, edited, episodes=100, first_seed=0).score == 1.0


def test_only_an_algorithm_that_edits_makes_evaluations_edit() -> None:
    env = guessing()
    for name, edits in (("dsrl_na", False), ("dsrl_edit", True)):
        act = evaluation_noise(build_algorithm(name, env), env.noise, best_of=None)
        assert isinstance(act, EditsChunks) == edits
    best = evaluation_noise(build_algorithm("dsrl_edit", env), env.noise, best_of=4)
    assert not isinstance(best, EditsChunks)


def test_replay_stores_chunks_of_warm_up_as_decoded_and_those_of_the_actor_as_edited() -> None:
    parts = toy_parts()
    algorithm = build_algorithm("dsrl_edit", parts.env, edit_draws=0, critic_warmup_updates=2)
    edit = algorithm.edit

    def marking(encoding: Encoding, chunk: Tensor) -> Tensor:
        return edit(encoding, chunk) + 10.0

    algorithm.edit = marking
    sizes: dict[str, Any] = {"batch_size": 8, "buffer_size": 60, "utd": 0.5, "eval_every": 1000}
    trainer = Trainer(parts.env, algorithm, Recording(), decisions=60, warmup_decisions=20, seed=0, **sizes)
    trainer.train()
    chunks = trainer.buffer.info.chunk[trainer.buffer.sample_indices(0)]
    marked = np.abs(chunks).max((1, 2)) > 8
    assert marked.sum() == 40
    assert len(marked) == 60
