"""DSRL-NA on a SmolVLA: replayed states, stored in half precision, are decoded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from toys.algorithms import build_algorithm
from toys.pictures import Pictures
from toys.replay import played, stored_context
from toys.tiny_smolvla import IMAGE_SIZE

from dsrl.interfaces import Encoding
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.smolvla import SmolVLA
from dsrl.training.replay_format import ReplayDecoder, write_decision
from dsrl.training.replay_memory import replay_bytes


@pytest.fixture(scope="module")
def env(tiny_smolvla: Path) -> NoiseActionEnv:
    policy = SmolVLA(str(tiny_smolvla), device="cpu", dtype="checkpoint")
    return NoiseActionEnv(Pictures(3), policy, RepeatNoise(policy.noise_shape, 1.5, None), horizon=4)


def test_replayed_states_decode_to_the_executed_chunks_within_half_precision(env: NoiseActionEnv) -> None:
    buffer = played(env)
    stored = stored_context(buffer)
    assert stored["prefix_keys"].dtype == stored["prefix_values"].dtype == torch.float16
    vectors, encoding = torch.as_tensor(1.5 * buffer.act), Encoding(torch.as_tensor(buffer.obs), stored)
    chunk = env.decode(encoding, vectors)
    moved = (chunk - env.decode(encoding, -vectors)).abs().mean().item()
    assert np.abs(chunk.numpy() - buffer.info.chunk).max() < 0.02 * moved
    taken = sum(values[0].nbytes for values in stored.values())
    assert replay_bytes(env, "context", 1) >= 2 * taken


def test_an_observation_that_is_encoded_again_gives_the_targets_of_the_stored_context(env: NoiseActionEnv) -> None:
    env.reset(seeds=[1, 2, 3])
    vectors = 0.5 * torch.randn(3, env.noise.dim, generator=torch.Generator().manual_seed(0))
    features_next, reward, terminated, truncated, _ = env.step(vectors.numpy())
    assert env.decision is not None
    features = env.decision.before.features
    returns, distilled = [], []
    for replay in ("exact_context", "observation"):
        info = Batch()
        write_decision(info, env.decision, replay, env, 0)
        batch = Batch(
            obs=features.numpy(),
            obs_next=features_next,
            rew=reward,
            terminated=terminated,
            truncated=truncated,
            info=info,
        )
        algorithm = build_algorithm("dsrl_na", env, replay=replay)
        torch.manual_seed(0)
        returns.append(algorithm._next_value(batch, np.arange(3)))
        chunk = ReplayDecoder(env, replay).decode_replayed(features, info, "before", np.arange(3), vectors)
        torch.testing.assert_close(chunk, torch.as_tensor(info.chunk), rtol=1e-4, atol=1e-5)
        scaled = algorithm.policy.standardise(features)
        distilled.append(algorithm.critic(scaled, algorithm._flat(chunk)).detach())
        live = algorithm.chunk_values(env.decision.before, vectors)
        torch.testing.assert_close(distilled[-1], live, rtol=1e-4, atol=1e-5)
    names = {"stored_state", "stored_image_front", "stored_instruction"}
    assert set(info.before.get_keys()) == set(info.after.get_keys()) == names
    torch.testing.assert_close(returns[1], returns[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(distilled[1], distilled[0], rtol=1e-4, atol=1e-5)
    pictures = 3 * IMAGE_SIZE**2
    numbers = env.policy.feature_dim + env.noise.dim + 8 + 4 * 4
    apart = 4 * env.policy.feature_dim * (3 + -(-7 // env.longest_episode))
    assert replay_bytes(env, "observation", 7) == 7 * (4 * numbers + 2 * (pictures + 4 * 5 + 256)) + apart


def test_an_update_is_finite_and_moves_the_actor(env: NoiseActionEnv) -> None:
    buffer, algorithm = played(env), build_algorithm("dsrl_na", env, critic_warmup_updates=2)
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(buffer, 8)
        before = algorithm.policy.actor.head.weight.detach().clone()
        stats = algorithm.learn(buffer, 8, 2)
    numbers = [float(value) for one in stats for value in one.get_loss_stats_dict().values()]
    assert np.isfinite(numbers).all()
    assert not torch.equal(algorithm.policy.actor.head.weight, before)
