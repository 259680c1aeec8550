"""Noise of recorded actions: exact where it can be, nearest in the actor's box elsewhere, and learning from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toys.algorithms import build_algorithm
from toys.complaints import complaint, composed
from toys.guess import Echo, Guess
from toys.mlp_checkpoints import KINDS, load, make_mlp_checkpoint
from toys.runs import Killed, results, run, toy_parts

from dsrl.interfaces import Encoding, Observation, Step
from dsrl.noise.auto import AutoNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.recorded_data import find_offline_noise, with_offline_data
from dsrl.run.config.settings import identity
from dsrl.run.terminal.errors import UserError
from dsrl.sac._cloning import LARGEST, cloning_loss
from dsrl.training.noise_inversion import Fidelity, joined, nearest
from dsrl.training.replay_buffer import Replay
from scripts.collect_rollouts import collect

ROWS, DIM = 6, 5
pytestmark = pytest.mark.usefixtures("in_this_process")


def smooth_flow(seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return four Euler steps of a random velocity in float64, another one at each row."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(DIM, DIM, generator=generator, dtype=torch.float64) / DIM for _ in range(2))
    at_row = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64)

    def decode(w: Tensor, rows: Tensor) -> Tensor:
        for _ in range(4):
            w = w - 0.25 * torch.tanh(w @ first + at_row[rows]) @ second
        return w

    return decode


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_noise_of_a_decoded_chunk_is_found_again(seed: int) -> None:
    decode, rows = smooth_flow(seed), torch.arange(ROWS)
    noise = 1.4 * torch.tanh(torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(seed)).double())
    found = nearest(decode, decode(noise, rows), DIM, magnitude=1.5, sigma=1e-5)
    torch.testing.assert_close(found, noise, rtol=0, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), magnitude=st.floats(0.3, 2.0))
def test_an_affine_policy_gets_the_most_probable_noise_within_the_magnitude(seed: int, magnitude: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    slopes, target = (torch.randn(shape, generator=generator).double() for shape in ((DIM, 7), (ROWS, 7)))
    found = nearest(lambda w, rows: w @ slopes, target, DIM, magnitude, sigma=0.5)
    assert found.abs().max() <= magnitude
    gradient = (found @ slopes - target) @ slopes.T / 0.25 + found  # of the cost, by hand
    inside = found.abs() < magnitude
    assert gradient[inside].abs().max() < 1e-2 if inside.any() else True
    assert (gradient * found.sign())[~inside].max() < 1e-2 if (~inside).any() else True  # pushes outwards


@pytest.mark.parametrize("kind", KINDS)
def test_flow_and_ddim_policies_decode_the_noise_that_was_found_to_the_recorded_actions(
    kind: str, tmp_path: Path
) -> None:
    policy = load(kind, make_mlp_checkpoint(tmp_path, kind), None)
    generator = torch.Generator().manual_seed(0)
    encoding = Encoding(torch.randn(ROWS, 3, generator=generator), {})
    noise = torch.randn(ROWS, *policy.noise_shape, generator=generator).clamp(-1.5, 1.5)

    def decode(w: Tensor, rows: Tensor) -> Tensor:
        return policy.decode(encoding[rows], w.view(-1, *policy.noise_shape)).flatten(1)

    chunk = policy.decode(encoding, noise).flatten(1)
    found = nearest(decode, chunk, noise[0].numel(), 1.5)
    errors = (decode(found, torch.arange(ROWS)) - chunk).abs().amax(1)
    assert errors.median() < 5e-3  # beside a bound of the actions, at which slopes vanish, a search can end elsewhere
    assert (decode(torch.zeros_like(found), torch.arange(ROWS)) - chunk).abs().mean() > 0.1


@pytest.mark.parametrize("noise", [RepeatNoise((4, 2), 1.5, None), SmoothNoise((4, 2), 1.5, None, 2, "fresh")])
def test_noise_of_fewer_numbers_is_found_in_the_parametrisation_itself(noise: Any) -> None:
    vectors = torch.randn(ROWS, noise.dim, generator=torch.Generator().manual_seed(0)).clamp(-1.4, 1.4)
    target = noise.expand(vectors).flatten(1)
    found = nearest(lambda w, rows: noise.expand(w).flatten(1), target, noise.dim, 1.5)
    torch.testing.assert_close(found, vectors, rtol=0, atol=1e-3)


def test_fidelities_of_parts_are_averaged_by_their_lengths() -> None:
    assert joined([(1, Fidelity(1.0, 2.0, 0.0)), (3, Fidelity(0.0, 4.0, 1.0))]) == Fidelity(0.25, 3.5, 0.75)


def test_cloning_is_the_likelihood_of_the_noise_before_tanh() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_std, raw = (torch.randn(ROWS, DIM, generator=generator) for _ in range(3))
    expected = -torch.distributions.Normal(mean, log_std.exp()).log_prob(raw).mean() - 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(cloning_loss(mean, log_std, torch.tanh(raw).clamp(-LARGEST, LARGEST)), expected)
    assert torch.isfinite(cloning_loss(mean, log_std, torch.ones(ROWS, DIM)))


class Numbers(Guess):
    """The guessing task without its camera."""

    def __init__(self, num_envs: int, max_steps: int = 2) -> None:
        super().__init__(num_envs, max_steps)
        self.cameras = {}

    def observe(self) -> Observation:
        observation = super().observe()
        return Observation(observation.state, {}, observation.instruction)


class Failing(Numbers):
    """The guessing task without successes."""

    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        none = torch.zeros_like(step.terminated)
        return Step(torch.zeros_like(step.reward), none, self.elapsed >= self.max_steps, none)


def parts_of(name: str = "dsrl_sac", **changes: Any) -> Any:
    parts = toy_parts()
    env = NoiseActionEnv(Numbers(4), Echo(), parts.noise, horizon=2)
    algorithm = build_algorithm(name, env)
    values = replace(parts.settings, video_episodes=0, eval_every=20, **changes)
    return replace(parts, task=env.task, env=env, algorithm=algorithm, settings=values, identity={"seed": 0})


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "guess"
    collect(parts_of(), folder, 48, seed=1)
    return folder


BUDGET = {"decisions": 0, "warmup_decisions": 0, "offline_updates": 8}


@pytest.mark.parametrize("name", ["dsrl_sac", "dsrl_na"])
def test_cloning_the_noise_of_successes_lifts_an_actor_before_it_plays(
    name: str, rollouts: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    changes = {**BUDGET, "offline_data": str(rollouts), "offline_cloning_updates": 150, "eval_episodes": 40}
    run(tmp_path, with_offline_data(parts_of(name, **changes), said.append))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    before, after = [row["eval/success_rate"] for row in rows if "eval/success_rate" in row][:2]
    assert after > before + 0.2
    assert after > 0.8
    assert any("learn/cloning_loss" in row for row in rows)
    assert "noise was found whose actions differ by" in said[-1]


def test_recorded_decisions_enter_replay_with_noise_that_decodes_to_their_actions(rollouts: Path) -> None:
    parts = with_offline_data(parts_of(offline_data=str(rollouts)), print)
    buffer = Replay(8, 4, seed=0, offline=len(parts.offline))
    parts.offline.write("noise", buffer)
    stored = buffer[buffer.sample_indices(0)]
    chunks = np.stack([one.chunk for one in parts.offline.transitions])
    assert parts.env.noise.magnitude == 1
    nearest_one = chunks.mean(1).clip(-1, 1)  # Echo's chunk is its noise, the same in both slots
    np.testing.assert_allclose(stored.act, nearest_one, atol=1e-2)
    assert (np.abs(nearest_one) < 1).any()


@pytest.mark.parametrize(("name", "updates"), [("dsrl_sac", 0), ("dsrl_na", 4)])
def test_noise_is_found_once_the_parametrisation_is_chosen_and_stays_behind_in_another_one(
    name: str, updates: int, rollouts: Path
) -> None:
    said: list[str] = []
    parts = parts_of(name, offline_data=str(rollouts), offline_cloning_updates=updates)
    undecided = AutoNoise((2, 1), 1.0, None, draws_per_world=2, largest_loss=0.1)
    env = NoiseActionEnv(parts.task, parts.policy, undecided, horizon=2)
    waiting = with_offline_data(replace(parts, noise=undecided, env=env), said.append)
    assert not any("noise was found" in sentence for sentence in said)
    chosen = replace(parts, offline=waiting.offline.moved_to(parts.env))
    find_offline_noise(chosen, said.append)
    assert "noise was found whose actions differ by" in said[-1]

    def stored(data: Any) -> Any:
        buffer = Replay(8, 4, seed=0, offline=len(data))
        data.write("noise", buffer)
        return buffer[buffer.sample_indices(0)].act

    assert stored(chosen.offline).shape[1] == parts.noise.dim == 1
    assert np.isfinite(stored(chosen.offline)).all()
    again = stored(chosen.offline.moved_to(env))
    assert again.shape[1] == env.noise.dim == 2
    assert np.isnan(again).all()


def test_a_run_that_cloned_and_was_killed_ends_like_one_that_was_not(
    rollouts: Path, tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    changes = {"decisions": 40, "warmup_decisions": 8, "validation_episodes": 4, "eval_episodes": 4}
    changes |= {"offline_data": str(rollouts), "offline_cloning_updates": 120, "offline_share": 0.5}
    made = [with_offline_data(parts_of(**changes), print) for _ in range(7)]
    run(tmp_path / "whole", made.pop())
    ended = False
    while not ended:  # each process dies of the first checkpoint that it writes
        killed(1, "after")
        try:
            run(tmp_path / "cut", made.pop())
            ended = True
        except Killed:
            pass
    assert len(made) < 4
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_a_checkpoint_belongs_to_its_steps_of_cloning_and_one_that_lacks_them_to_none() -> None:
    def steps(*overrides: str) -> Any:
        return identity(composed("task=pendulum", *overrides), {})["offline_cloning_updates"]

    assert steps() is None
    assert steps("offline_data=x", "offline_cloning_updates=7") == 7


def test_what_cannot_be_cloned_is_refused(rollouts: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not used by LPDS; choose sac=dsrl_sac or sac=dsrl_na, or offline_data"):
        with_offline_data(parts_of("lp_ds", offline_data=str(rollouts)), print)
    assert "offline_cloning_updates=9 is not used by sac=lp_ds, which does not learn from recorded decisions" in str(
        complaint("sac=lp_ds", "offline_cloning_updates=9", "offline_data=x")
    )
    assert "choose sac=dsrl_edit or sac=dsrl_na or sac=dsrl_sac" in str(complaint("sac=lp_ds", "offline_data=x"))
    assert "offline_cloning_updates=9 needs data; type offline_data=" in str(complaint("offline_cloning_updates=9"))
    assert complaint("sac=dsrl_sac", "offline_data=x", "offline_cloning_updates=9") is None

    task, parts = Failing(4), parts_of()
    failing = replace(parts, task=task, env=NoiseActionEnv(task, parts.policy, parts.noise, 2))
    collect(failing, tmp_path / "no", 4, seed=1)
    with pytest.raises(UserError, match=r"offline_cloning_updates=5 clones episodes that succeed, and .* has none"):
        with_offline_data(parts_of(offline_data=str(tmp_path / "no"), offline_cloning_updates=5), print)
