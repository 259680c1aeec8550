"""Noise that the actor does not steer: zero or fresh, in slots that are not executed and in further dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from toys.algorithms import build_algorithm
from toys.commands import CONF
from toys.guess import Echo, Guess
from toys.runs import Killed, few_evaluations, results, run, short_parts
from toys.typed import type_train

from dsrl.evaluation.episodes import evaluate
from dsrl.evaluation.noise_sources import base_noise, evaluation_noise, prior_noise
from dsrl.interfaces import DrawsUnsteered, Encoding
from dsrl.noise.full import FullNoise
from dsrl.noise.per_step import PerStepNoise
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise.smooth import SmoothNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.build import build_noise
from dsrl.run.components.typed_parts import check_unsteered

SHAPE = (4, 3)
MAKERS: dict[str, Callable[[int | None, Any], Any]] = {
    "repeat": lambda dims, unsteered: RepeatNoise(SHAPE, 1.5, dims, unsteered),
    "full": lambda dims, unsteered: FullNoise(SHAPE, 1.5, dims, unsteered),
    "smooth": lambda dims, unsteered: SmoothNoise(SHAPE, 1.5, dims, 2, unsteered),
    "per_step": lambda dims, unsteered: PerStepNoise(SHAPE, 1.5, dims, 2, unsteered),
}


@given(slots=st.integers(1, 6), dims=st.integers(1, 4), batch=st.integers(1, 3), data=st.data())
def test_per_step_noise_fills_the_executed_slots_and_no_others(slots, dims, batch, data):
    horizon, steered = data.draw(st.integers(1, slots)), data.draw(st.integers(1, dims))
    noise = PerStepNoise((slots, dims), 1.5, steered, horizon, "zero")
    vectors = torch.randn(batch, noise.dim)
    before = vectors.clone()
    expected = torch.zeros(batch, slots, dims)
    expected[:, :horizon, :steered] = before.view(batch, horizon, steered)
    expanded = noise.expand(vectors)
    assert torch.equal(expanded, expected)
    expanded += 1.0
    assert torch.equal(vectors, before)


@given(slots=st.integers(1, 6), dims=st.integers(1, 4), data=st.data())
def test_per_step_noise_of_a_whole_chunk_is_full_noise(slots, dims, data):
    full = FullNoise((slots, dims), 1.5, None)
    vectors = torch.randn(3, full.dim)
    for horizon in (slots, None):
        per_step = PerStepNoise((slots, dims), 1.5, None, horizon, data.draw(st.sampled_from(["zero", "fresh"])))
        assert torch.equal(per_step.expand(vectors), full.expand(vectors))


@given(slots=st.integers(1, 6), data=st.data())
def test_per_step_noise_steers_the_executed_slots_wherever_the_chunk_begins(slots, data):
    first = data.draw(st.integers(0, slots - 1))
    executed = range(first, data.draw(st.integers(first + 1, slots)))
    noise = PerStepNoise((slots, 3), 1.5, 2, "executed", "zero", executed)
    vectors = torch.randn(2, noise.dim)
    expected = torch.zeros(2, slots, 3)
    expected[:, list(executed), :2] = vectors.view(2, len(executed), 2)
    assert torch.equal(noise.expand(vectors), expected)
    fresh = PerStepNoise((slots, 3), 1.5, 2, "executed", "fresh", executed).expand(vectors)
    assert torch.equal(fresh[:, list(executed), :2], expected[:, list(executed), :2])
    assert (fresh[expected == 0] != 0).all()


class Late(Echo):
    """A policy whose noise of six slots begins with two of the past; it executes three of its four actions."""

    noise_shape, chunk_shape = (6, 1), (4, 1)
    first_slot, default_horizon = 2, 3


@pytest.mark.parametrize(
    ("saved", "slots"),
    [
        ({"horizon": "executed"}, range(2, 5)),
        ({"horizon": 4}, range(4)),  # configs of earlier runs
        ({"horizon": None}, range(6)),
    ],
)
def test_a_config_steers_the_executed_slots_and_one_of_an_earlier_run_those_that_it_did(
    saved: dict[str, Any], slots: range
) -> None:
    node = {"_target_": "dsrl.noise.per_step.PerStepNoise", "_partial_": True, "magnitude": 1.5, "action_dims": None}
    noise: Any = build_noise({**node, **saved, "unsteered": "fresh"}, Late(), None)
    assert (noise.slots, noise.dim) == (slots, len(slots))


def test_the_default_of_per_step_noise_is_the_horizon_that_is_executed() -> None:
    node: Any = OmegaConf.to_container(OmegaConf.load(CONF / "noise" / "per_step.yaml"))
    shared: Any = OmegaConf.to_container(OmegaConf.load(CONF / "noise" / "_base.yaml"))
    del node["defaults"]
    for typed, slots in ((None, range(2, 5)), (1, range(2, 3)), (4, range(2, 6))):
        assert build_noise({**shared, **node}, Late(), typed).slots == slots


def test_a_run_of_an_earlier_version_is_continued_only_with_the_slots_that_it_steered(tmp_path: Path) -> None:
    earlier = ("noise=per_step", "noise.magnitude=1.0", "noise.unsteered=zero")
    assert type_train(tmp_path, *earlier, "noise.horizon=1") is None
    refused = str(type_train(tmp_path, *earlier, "decisions=160"))
    assert "noise.horizon=executed but the checkpoint" in refused
    assert "is of a run with noise.horizon=1; give it the same value" in refused
    assert type_train(tmp_path, *earlier, "noise.horizon=1", "decisions=160") is None


@pytest.mark.parametrize(
    ("executed", "sentence"),
    [
        (range(2, 5), "slots 2 to 4 are executed and the policy's noise has 4; choose another noise"),
        (None, "give a range as `executed`"),
    ],
)
def test_executed_slots_that_the_noise_lacks_are_refused(executed: range | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PerStepNoise(SHAPE, 1.5, None, "executed", "fresh", executed)


@pytest.mark.parametrize("name", MAKERS)
def test_fresh_noise_that_was_typed_where_all_is_steered_is_refused(name: str) -> None:
    typed = {"noise.unsteered": "noise.unsteered=fresh"}
    for dims, sentence in ((None, "type noise.action_dims below 3, or leave it out"), (2, None)):
        noise = MAKERS[name](dims, "fresh")
        if sentence is None or name == "per_step":  # which steers two slots of four
            check_unsteered(noise, typed)
            continue
        with pytest.raises(
            ValueError, match=f"unsteered=fresh is not used, because all of the noise is steered; {sentence}"
        ):
            check_unsteered(noise, typed)
        check_unsteered(noise, {})
        check_unsteered(MAKERS[name](dims, "zero"), {"noise.unsteered": "noise.unsteered=zero"})


@pytest.mark.parametrize("horizon", [0, 5])
def test_a_horizon_beyond_the_slots_raises_a_sentence(horizon):
    with pytest.raises(
        ValueError, match=rf"horizon={horizon} but the policy's noise has 4 slots; type 1 to 4, or null"
    ):
        PerStepNoise(SHAPE, 1.5, None, horizon, "zero")


@pytest.mark.parametrize("kind", MAKERS)
def test_fresh_noise_is_standard_normal_and_leaves_the_steered_numbers_alone(kind):
    zero, fresh = MAKERS[kind](2, "zero"), MAKERS[kind](2, "fresh")
    assert (zero.dim, zero.draws, fresh.dim, fresh.draws) == (zero.dim, False, zero.dim, True)
    vectors = torch.randn(4000, zero.dim)
    torch.manual_seed(0)
    noise, steered = fresh.expand(vectors), zero.expand(vectors)
    slots, dims = fresh.steered
    assert torch.equal(noise[:, :slots, :dims], steered[:, :slots, :dims])
    rest = torch.ones(SHAPE, dtype=torch.bool)
    rest[:slots, :dims] = False
    assert (steered[:, rest] == 0).all()
    drawn = noise[:, rest]
    assert drawn.mean().abs() < 0.03
    torch.testing.assert_close(drawn.T.cov(), torch.eye(int(rest.sum())), atol=0.1, rtol=0)
    torch.manual_seed(0)
    assert torch.equal(fresh.expand(vectors), noise)  # the stream that checkpoints contain
    assert torch.equal(fresh.expand_drawn(vectors, torch.Generator().manual_seed(0)), noise)


@pytest.mark.parametrize("kind", MAKERS)
def test_noise_without_fresh_numbers_leaves_all_random_streams_alone(kind):
    noise = MAKERS[kind](2, "zero")
    assert isinstance(noise, DrawsUnsteered)
    before, generator = torch.get_rng_state(), torch.Generator().manual_seed(3)
    noise.expand_drawn(torch.zeros(2, noise.dim), generator)
    noise.expand(torch.zeros(2, noise.dim))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())


def test_per_step_noise_with_fresh_numbers_has_the_prior_of_the_base_policy():
    noise = PerStepNoise(SHAPE, 1.5, None, 2, "fresh")
    torch.manual_seed(0)
    drawn = noise.expand(noise.sample_prior(4000)).flatten(1)
    torch.testing.assert_close(drawn.T.cov(), torch.eye(12), atol=0.1, rtol=0)


def _fresh() -> PerStepNoise:
    return PerStepNoise((2, 1), 1.0, None, 1, "fresh")


class Last(Echo):
    """A policy that plays the noise of its last slot."""

    def decode(self, encoding: Encoding, noise: torch.Tensor) -> torch.Tensor:
        return noise[:, 1:].expand(-1, 2, -1).clone()


def test_fresh_noise_of_evaluations_is_a_function_of_world_and_decision():
    act = prior_noise(_fresh())
    played = []
    for num_envs in (1, 5, 13):
        env = NoiseActionEnv(Guess(num_envs), Last(), _fresh(), 2)
        torch.manual_seed(num_envs)
        before = torch.get_rng_state()
        played.append(evaluate(env, act, episodes=13, first_seed=0))
        assert torch.equal(torch.get_rng_state(), before)
    assert played[0] == played[1] == played[2]
    assert len(set(played[0].lengths)) > 1  # draws of later decisions differ


def test_fresh_noise_differs_between_decisions_draws_and_the_steered_numbers():
    encoding = Encoding(torch.zeros(500, 1), {})
    noise = prior_noise(_fresh())(encoding, range(500), 1)[..., 0]
    others = [prior_noise(_fresh())(encoding, range(500), 2), prior_noise(_fresh(), draw=1)(encoding, range(500), 1)]
    columns = torch.stack(
        [*noise.T, *(other[:, 1, 0] for other in others), base_noise((1, 1))(encoding, range(500), 1)[:, 0, 0]]
    )
    correlation = columns.corrcoef() - torch.eye(5)
    assert correlation[1].abs().max() < 0.15


def test_best_of_n_is_refused_for_chunks_that_vectors_do_not_determine():
    env = NoiseActionEnv(Guess(4), Echo(), _fresh(), 2)
    critic = build_algorithm("dsrl_na", env)
    with pytest.raises(
        ValueError, match=r"best_of=4 values chunks .* type best_of=null, or train with noise.unsteered=zero"
    ):
        evaluation_noise(critic, env.noise, best_of=4)


@pytest.mark.parametrize("algorithm", ["dsrl_sac", "dsrl_na"])
def test_a_run_with_fresh_noise_that_is_killed_ends_like_one_that_is_not(
    algorithm: str, tmp_path: Path, killed: Callable[[int, str], None]
) -> None:
    def parts() -> Any:
        parts = few_evaluations(short_parts(algorithm))
        env = NoiseActionEnv(parts.task, parts.policy, _fresh(), horizon=2)
        return replace(parts, noise=env.noise, env=env, algorithm=build_algorithm(algorithm, env))

    torch.manual_seed(0)
    run(tmp_path / "whole", parts())
    killed(3, "after")
    with pytest.raises(Killed):
        run(tmp_path / "cut", parts())
    killed(-1, "after")
    run(tmp_path / "cut", parts())
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
