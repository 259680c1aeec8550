"""DSRL-NA on a SmolVLA: replayed looks, kept in half precision, are denoised again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from test_replay import kept_context, na_for, played
from tianshou.data import Batch
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor
from toys.tiny_smolvla import IMAGE_SIZE, make_tiny_checkpoint

from dsrl.interfaces import Observation, Step
from dsrl.noise.repeat import RepeatNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.smolvla import SmolVLA
from dsrl.training.replay_format import replay_bytes, write_decision


class Pictures:
    """Every look is another random picture; every world runs out of time after two chunks."""

    state_dim, action_dim, max_steps, has_success = 5, 4, 8, False
    cameras: Mapping[str, tuple[int, int, int]] = {"front": (3, IMAGE_SIZE, IMAGE_SIZE)}

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.elapsed = torch.zeros(num_envs, dtype=torch.int64)
        self.generator = torch.Generator().manual_seed(0)

    def reset(self, rows: Tensor, seeds: Sequence[int] | None = None) -> None:
        self.elapsed[rows] = 0

    def observe(self) -> Observation:
        shape = (self.num_envs, *self.cameras["front"])
        images = {"front": torch.randint(256, shape, generator=self.generator, dtype=torch.uint8)}
        instruction = ("pick up the red cube",) * self.num_envs
        return Observation(torch.randn(self.num_envs, 5, generator=self.generator), images, instruction)

    def step(self, action: Tensor) -> Step:
        self.elapsed += 1
        ended = self.elapsed >= self.max_steps
        return Step(action[:, 0].clone(), torch.zeros_like(ended), ended, None)

    def hold(self) -> Tensor:
        return torch.zeros(self.num_envs, self.action_dim)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> NoiseActionEnv:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    policy = SmolVLA(str(folder), device="cpu", dtype="checkpoint")
    return NoiseActionEnv(Pictures(3), policy, RepeatNoise(policy.noise_shape, 1.5, None), horizon=4)


def test_replayed_looks_decode_to_the_executed_chunks_within_half_precision(env: NoiseActionEnv) -> None:
    buffer = played(env)
    kept = kept_context(buffer)
    assert kept["keys"].dtype == kept["values"].dtype == torch.float16
    vectors, features = torch.as_tensor(1.5 * buffer.act), torch.as_tensor(buffer.obs)
    chunk = env.decode(features, kept, vectors)
    moved = (chunk - env.decode(features, kept, -vectors)).abs().mean().item()
    assert np.abs(chunk.numpy() - buffer.info.chunk).max() < 0.02 * moved
    taken = sum(values[0].nbytes for values in kept.values())
    assert replay_bytes(env, "context", 1) >= 2 * taken


def test_an_observation_that_is_encoded_again_gives_the_targets_of_the_kept_context(env: NoiseActionEnv) -> None:
    env.reset(seeds=[1, 2, 3])
    vectors = 0.5 * torch.randn(3, env.noise.dim, generator=torch.Generator().manual_seed(0)).numpy()
    features_next, reward, terminated, truncated, _ = env.step(vectors)
    assert env.decision is not None
    returns, distilled = [], []
    for replay in ("exact_context", "observation"):
        info = Batch()
        write_decision(info, env.decision, replay)
        obs = env.decision.before.features.numpy()
        batch = Batch(
            obs=obs, obs_next=features_next, rew=reward, terminated=terminated, truncated=truncated, info=info
        )
        algorithm = na_for(env, replay=replay)
        torch.manual_seed(0)
        returns.append(algorithm._preprocess_batch(batch, None, None).returns)
        context = algorithm._context(info, "context")
        distilled.append(algorithm.chunk_values(torch.as_tensor(obs), context, torch.as_tensor(vectors)))
    assert set(info.context.get_keys()) == {"look_seen_state", "look_seen_image_front", "look_seen_instruction"}
    torch.testing.assert_close(returns[1], returns[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(distilled[1], distilled[0], rtol=1e-4, atol=1e-5)
    pictures = 3 * IMAGE_SIZE**2
    numbers = 2 * env.policy.feature_dim + env.noise.dim + 8 + 4 * 4
    assert replay_bytes(env, "observation", 7) == 7 * (4 * numbers + 2 * (pictures + 4 * 5 + 256))


def test_an_update_is_finite_and_moves_the_actor(env: NoiseActionEnv) -> None:
    buffer, algorithm = played(env), na_for(env)
    with policy_within_training_step(algorithm.policy):
        algorithm.warm_up(buffer, 8)
        before = algorithm.policy.actor.head.weight.detach().clone()
        stats = algorithm.learn(buffer, 8, 2)
    figures = [float(value) for one in stats for value in one.get_loss_stats_dict().values()]
    assert np.isfinite(figures).all()
    assert not torch.equal(algorithm.policy.actor.head.weight, before)
