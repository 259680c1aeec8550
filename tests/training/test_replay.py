"""What replay keeps beyond features and u, what that takes, and that it decodes as it once did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from toys.algorithms import build_algorithm
from toys.countdown import CountdownTask, EchoPolicy
from toys.replay import played, stored_context

from dsrl.interfaces import Encoding
from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.build import build, check_budget
from dsrl.training.replay_format import (
    available_memory,
    buffer_length,
    checked_replay_bytes,
    context_arrays,
    replay_bytes,
)
from dsrl.training.trainer import train

CONF = Path(__file__).resolve().parents[2] / "conf"


class Heavy(EchoPolicy):
    """Has a context worth halving."""

    def encode(self, observation):
        encoding = super().encode(observation)
        cache = torch.full((len(encoding.features), 2, 1024), 0.1)
        return Encoding(encoding.features, {**encoding.context, "cache": cache})


def make_env(policy=None, num_envs=3, horizon=3, magnitude=1.5):
    policy = policy or EchoPolicy()
    return NoiseActionEnv(CountdownTask(num_envs), policy, FullNoise(policy.noise_shape, magnitude, None), horizon)


def test_replay_holds_u_the_executed_chunk_and_the_contexts_before_and_after():
    env = make_env(magnitude=1.5)
    buffer = played(env)
    noise = 1.5 * buffer.act.reshape(-1, 4, 2)
    expected = (noise + buffer.obs[:, 1, None, None])[:, :3]
    np.testing.assert_allclose(buffer.info.chunk, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(buffer.info.context.look_taken, buffer.obs[:, 1])
    on = ~buffer.terminated
    np.testing.assert_array_equal(buffer.info.next_context.look_taken[on], buffer.obs_next[on, 1])
    assert buffer.truncated.any()
    assert buffer.terminated.any()


def test_replayed_looks_decode_to_the_chunks_that_were_executed():
    env = make_env(Heavy())
    buffer = played(env)
    context = stored_context(buffer)
    assert context["cache"].dtype == torch.float16
    chunk = env.decode(torch.as_tensor(buffer.obs), context, torch.as_tensor(1.5 * buffer.act))
    np.testing.assert_allclose(chunk, buffer.info.chunk, rtol=1e-6, atol=1e-6)


def test_a_context_returns_to_the_policys_precision_before_it_is_decoded():
    seen = {}

    class Watching(Heavy):
        def decode(self, encoding, noise):
            seen.update({key: value.dtype for key, value in encoding.context.items()})
            return super().decode(encoding, noise)

    env = make_env(Watching())
    env.reset(seeds=[7, 8, 9])
    halved = {key: torch.as_tensor(value) for key, value in context_arrays(env.encoding.context, "context").items()}
    env.decode(env.encoding.features, halved, torch.zeros(3, 8))
    assert seen == {"taken": torch.float32, "cache": torch.float32}


def test_only_large_floating_tensors_are_halved_and_only_if_asked():
    context = {"small": torch.ones(2, 8), "large": torch.ones(2, 2048), "mask": torch.ones(2, 2048, dtype=torch.bool)}
    halved, exact = context_arrays(context, "context"), context_arrays(context, "exact_context")
    assert {key: str(array.dtype) for key, array in halved.items()} == {
        "small": "float32",
        "large": "float16",
        "mask": "bool",
    }
    assert exact["large"].dtype == np.float32
    with pytest.raises(FloatingPointError, match=r"context 'large' has numbers .* choose sac.replay=exact_context"):
        context_arrays({"large": torch.full((2, 2048), 1e6)}, "context")


def test_the_memory_of_replay_is_known_before_anything_is_simulated():
    env = make_env(Heavy())
    kept = replay_bytes(env, "context", 100)
    assert kept == 100 * (4 * (2 * 2 + 8 + 8 + 3 * 2) + 2 * (4 + 2 * 2048))
    assert replay_bytes(env, "exact_context", 100) - kept == 100 * 2 * 2 * 2048
    assert replay_bytes(env, "noise", 100) == 100 * 4 * (2 * 2 + 8 + 8)
    assert replay_bytes(env, "observation", 100) == 100 * (4 * (2 * 2 + 8 + 8 + 3 * 2) + 2 * (4 * 2 + 256))
    assert env.encoding is None
    assert env.task.looks == 0


def test_replay_that_cannot_fit_is_refused_with_what_would():
    env = make_env(Heavy())
    assert checked_replay_bytes(env, "context", 10) == replay_bytes(env, "context", 10)
    message = (
        r"replay of 1000000 transitions takes 7\.\d GiB but 1\.0 GiB are free; choose a buffer_size .* below 12\d{4}, "
        r"sac.replay=observation \(0\.6 GiB\), or sac=dsrl_sac, which keeps no looks"
    )
    with pytest.raises(ValueError, match=message):
        checked_replay_bytes(env, "context", 1_000_000, available=2**30)
    with pytest.raises(ValueError, match=r"below \d+, or sac=dsrl_sac, which keeps no looks"):
        checked_replay_bytes(env, "observation", 10_000_000, available=2**30)
    assert 2**20 < available_memory() < 2**50


def test_dsrl_na_is_built_from_its_yaml_and_its_replay_announced_or_refused(monkeypatch):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parts = build(compose("train", ["task=pendulum", "sac=dsrl_na", "num_envs=2", "decisions=1000"]), print)
    told: list[str] = []
    check_budget(parts, told.append)
    assert told == ["replay keeps what the policy saw: up to 0.00 GiB for 1000 transitions"]
    monkeypatch.setattr("dsrl.training.replay_format.available_memory", lambda: 1000)
    with pytest.raises(ValueError, match="replay of 1000 transitions takes"):
        check_budget(parts, print)


def test_a_short_run_gets_a_short_buffer():
    assert buffer_length(200_000, decisions=100, num_envs=16) == 112
    assert buffer_length(64, decisions=100, num_envs=16) == 64


def test_the_training_loop_feeds_dsrl_na_and_a_seed_decides_everything():
    def run():
        env, logged = make_env(Heavy()), []
        algorithm = build_algorithm("dsrl_na", env, critic_warmup_updates=2)
        counters = train(
            env=env,
            algorithm=algorithm,
            decisions=30,
            warmup_decisions=12,
            utd=0.5,
            batch_size=8,
            buffer_size=300,
            eval_every=30,
            evaluate=lambda: Score(),
            log=lambda metrics, counters: logged.append(metrics),
            save=lambda name: None,
            seed=0,
        )
        return algorithm, counters, logged

    class Score:
        score = 0.0

        def summary(self):
            return {}

    (first, counters, logged), (second, *_) = run(), run()
    rounds_that_learn = sum(int((i + 1) * 3 * 0.5) > int(i * 3 * 0.5) for i in range(6))
    assert counters.gradient_steps == 2 + 2 + int(0.5 * 18) + 2 * rounds_that_learn
    assert any("learn/distillation_loss" in metrics and "learn/critic_loss" in metrics for metrics in logged)
    states = first.policy.state_dict(), second.policy.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
