"""Every algorithm starts at the base policy: its first validation, and its warm-up, are the base policy's."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.monitor import Recording, scored
from toys.requests import request_of
from toys.runs import toy_parts

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import evaluation_noise, prior_noise
from dsrl.interfaces import Encoding
from dsrl.logging.csv import CsvLogger
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.parts import Parts
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer
from dsrl.sac.dsrl_sac import PLAYS
from dsrl.training.loop import Validator
from dsrl.training.metrics import Counters
from dsrl.training.trainer import Trainer


class Wide(Echo):
    """Acts only on noise that is far from 0: w = 0 never succeeds, and every second N(0, I) does."""

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return noise * (noise.abs() > 0.3)


class Calm(Echo):
    """Knows the action and does the opposite under noise that is far from 0: w = 0 always succeeds."""

    def decode(self, encoding: Encoding, noise: Tensor) -> Tensor:
        return encoding.features[:, None].sign() * (0.3 - noise.abs())


CHANGES: dict[str, dict[str, Any]] = {
    "dsrl_na": {"alpha": 0.01, "noise_critic_grad_steps": 4},
    "dsrl_pi0": {"alpha": 0.01},
    "dsrl_edit": {"alpha": 0.01, "noise_critic_grad_steps": 4},
    "dsrl_select": {"alpha": 0.01, "noise_critic_grad_steps": 4},
}


def parts_of(name: str, policy: Echo | None = None) -> Parts:
    """Return an algorithm that steers `policy`, `Wide` by default, in noise within ±1.5."""
    parts = toy_parts()
    policy, noise = policy or Wide(), RepeatNoise((2, 1), 1.5, None)
    env = NoiseActionEnv(Guess(4, max_steps=2), policy, noise, horizon=2)
    algorithm = build_algorithm(name, env, **CHANGES.get(name, {}))
    settings = replace(
        parts.settings, decisions=96, eval_every=96, validation_episodes=100, eval_episodes=100, video_episodes=0
    )
    return replace(parts, settings=settings, policy=policy, noise=noise, env=env, algorithm=algorithm)


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na", "dsrl_edit", "dsrl_pi0", "dsrl_select", "lp_ds"])
def test_the_first_validation_is_that_of_the_base_policy_although_w_0_fails(name: str, tmp_path: Path) -> None:
    parts, folder = parts_of(name), RunFolder(tmp_path)
    steer(parts, folder, {"csv": CsvLogger(str(tmp_path))}, Screen())
    summary = json.loads(folder.summary.read_text())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, *later = [row for row in rows if "eval/success_rate" in row]
    assert first["decisions"] == 80
    assert [row["decisions"] for row in later] == [96]
    low, high = summary["base_under_actor_noise"]["ci95"]
    assert low <= first["eval/success_rate"] <= high
    assert low > 0
    zero = prior_noise(parts.noise, bound=0.0)
    assert evaluate(parts.env, zero, episodes=100, first_seed=2000).score == 0.0


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na", "dsrl_edit", "dsrl_pi0", "dsrl_select"])
def test_w_0_is_returned_where_no_actor_is_better(name: str, tmp_path: Path) -> None:
    parts, folder = parts_of(name, Calm()), RunFolder(tmp_path)
    parts = replace(parts, settings=replace(parts.settings, decisions=84, utd=0.1))  # the actor makes no step
    assert steer(parts, folder, {"csv": CsvLogger(str(tmp_path))}, Screen()) == 1.0
    summary = json.loads(folder.summary.read_text())
    assert summary["best_checkpoint"] == "w = 0, without any learning"
    assert summary["base"]["success_rate"] < 0.6
    assert summary["steered"]["success_rate"] == 1.0
    again = evaluate_run(
        parts_of(name, Calm()), folder, request_of(tmp_path, base=False), folder.load("best"), Screen()
    )
    assert again == 1.0


def test_an_actor_is_played_by_draws_where_w_0_fails_and_its_mean_competes(tmp_path: Path) -> None:
    parts, folder = parts_of("dsrl_sac"), RunFolder(tmp_path)
    steer(parts, folder, {"csv": CsvLogger(str(tmp_path))}, Screen())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["eval/zero_noise"] for row in rows if "eval/zero_noise" in row] == [0.0]
    drawn, mean = (max(row[key] for row in rows if key in row) for key in ("eval/success_rate", "eval/mean"))
    best = folder.load("best")
    assert best["plays"] == PLAYS.index("draws" if drawn >= mean else "actor")
    assert json.loads(folder.summary.read_text())["best_validation"] == max(drawn, mean)
    assert folder.load("last")["plays"] == PLAYS.index("draws")  # after its mean was played
    parts.algorithm.load_state_dict(best)
    assert parts.algorithm.stochastic == (drawn >= mean)


def test_an_actor_that_is_as_good_as_w_0_is_returned_and_w_0_never_where_draws_are_better(tmp_path: Path) -> None:
    parts, folder = parts_of("dsrl_sac"), RunFolder(tmp_path)
    steer(parts, folder, {}, Screen())
    assert json.loads(folder.summary.read_text())["best_checkpoint"].endswith("after 96 decisions")
    assert folder.load("best")["plays"] != PLAYS.index("zero")
    equal = Recording()
    equal.validate_as = lambda name: scored(0.0)  # type: ignore[method-assign]
    Validator(parts.env, parts_of("dsrl_sac").algorithm, equal).validate_start(Counters())
    assert equal.saved == ["best", "last"]


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na", "dsrl_pi0"])
def test_an_actor_is_drawn_from_until_its_first_step_and_then_its_mean_is_played(name: str) -> None:
    parts = parts_of(name)
    algorithm = parts.algorithm
    assert algorithm.stochastic
    saved = deepcopy(algorithm.state_dict())
    features = torch.randn(8, 1)
    algorithm._actor_step(features, *algorithm.policy.draw(features)[:2], torch.tensor(0.1))
    assert not algorithm.stochastic
    algorithm.load_state_dict(saved)
    assert algorithm.stochastic


@pytest.mark.parametrize(("name", "clipped"), [("lp_ds", False), ("dsrl_sac", True)])
def test_warm_up_is_the_prior_within_the_bound_that_the_algorithm_has(name: str, clipped: bool) -> None:
    parts, played, stored = parts_of(name), [], []
    algorithm, decide = parts.algorithm, parts.env.decide
    warm_up = algorithm.warm_up

    def recording(noise: Tensor, *arguments: Any, **options: Any) -> Any:
        played.append(noise[:, 0, 0])
        return decide(noise, *arguments, **options)

    def reading(buffer: Any, batch_size: int) -> Any:
        stored.append(1.5 * buffer.act[buffer.sample_indices(0), 0])
        return warm_up(buffer, batch_size)

    algorithm.warm_up, parts.env.decide = reading, recording  # type: ignore[method-assign]
    sizes: dict[str, Any] = {"batch_size": 8, "buffer_size": 404, "utd": 0.1, "eval_every": 1000}
    Trainer(parts.env, algorithm, Recording(), decisions=404, warmup_decisions=400, seed=0, **sizes).train()
    noise = torch.cat(played[:100]).numpy()
    np.testing.assert_allclose(np.sort(stored[0]), np.sort(noise), rtol=1e-6, atol=1e-6)
    assert (np.abs(noise).max() <= 1.5) == clipped
    if not clipped:
        assert abs(noise.std() - 1.0) < 0.1


def test_evaluations_may_play_the_best_of_base_noises_and_eval_repeats_them(tmp_path: Path) -> None:
    parts, folder = parts_of("dsrl_na"), RunFolder(tmp_path)
    parts = replace(parts, settings=replace(parts.settings, decisions=240, best_of=8))
    steer(parts, folder, {}, Screen())
    summary = json.loads(folder.summary.read_text())
    score = summary["steered"]["success_rate"]
    assert score > summary["base_under_actor_noise"]["success_rate"] + 0.3
    request = request_of(tmp_path, base=False)
    assert evaluate_run(parts, folder, request, folder.load("best"), Screen()) == score


def test_the_best_of_noises_is_refused_where_nothing_values_chunks() -> None:
    parts = parts_of("dsrl_sac")
    needs = "best_of=8 needs values of chunks to choose by, which DSRLSAC does not learn"
    message = f"{needs}; type best_of=null, or train with sac=dsrl_na"
    with pytest.raises(ValueError, match=message):
        evaluation_noise(parts.algorithm, parts.noise, best_of=8)
