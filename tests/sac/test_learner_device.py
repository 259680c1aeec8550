"""The learner on a device: typed, where the policy is, refused where absent; the same weights on all; real sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.utils.torch_utils import policy_within_training_step
from toys.algorithms import build_algorithm
from toys.commands import CONF
from toys.countdown import CountdownTask, EchoPolicy
from toys.learners import HORIZON, LEARNERS, NEEDS_CUDA, filled, learner
from toys.replay import played

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components.build import build, learner_device
from dsrl.run.terminal.errors import UserError
from dsrl.sac.dsrl_na import DSRLNA


def env() -> NoiseActionEnv:
    policy = EchoPolicy()
    return NoiseActionEnv(CountdownTask(3), policy, FullNoise(policy.noise_shape, 1.5, None), horizon=HORIZON)


def test_the_learner_is_where_the_policy_is_unless_a_device_is_typed() -> None:
    elsewhere: Any = SimpleNamespace(device=torch.device("cuda:3"))
    assert learner_device("auto", elsewhere) == torch.device("cuda:3")
    assert learner_device("auto", EchoPolicy()) == torch.device("cpu")
    assert learner_device("cpu", elsewhere) == torch.device("cpu")


def test_a_device_that_is_not_on_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def composed(device: str) -> Any:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", ["task=pendulum", f"learner_device={device}"])

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"learner_device=cuda but torch \S+ sees no CUDA device; type auto or cpu"):
        build(composed("cuda"), print)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"learner_device=cuda:2 but torch \S+ sees 2 CUDA devices; type auto or cpu"):
        build(composed("cuda:2"), print)
    with pytest.raises(UserError, match=r"learner_device=cuda:256 but torch \S+ sees 2 CUDA devices"):
        build(composed("cuda:256"), print)  # of which torch makes cuda:0
    with pytest.raises(UserError, match=r"learner_device=tpu must be auto, cpu, cuda or cuda:<n>"):
        build(composed("tpu"), print)
    assert {one.device.type for one in build(composed("cpu"), print).algorithm.parameters()} == {"cpu"}


@pytest.mark.parametrize("name", LEARNERS)
def test_an_update_moves_what_it_reads_to_the_learner_and_mixes_no_devices(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device meta stands for a GPU: its tensors have no numbers, and most operations refuse a second device."""
    losses: list[torch.Tensor] = []
    monkeypatch.setattr(Algorithm.Optimizer, "step", lambda _, loss: losses.append(loss))
    algorithm, buffer = learner(name, features=5, dim=4).to("meta"), filled(features=5, dim=4)
    with pytest.raises(RuntimeError, match="device"):
        algorithm.critic(torch.zeros(2, 5), torch.zeros(2, 4, device="meta"))
    with policy_within_training_step(algorithm.policy):
        algorithm.update(buffer, 8)
        if isinstance(algorithm, DSRLNA):
            algorithm._distil(buffer, 8, 1)
    assert len(losses) >= 2
    assert {loss.device.type for loss in losses} == {"meta"}


@pytest.mark.parametrize("name", LEARNERS)
def test_features_and_noise_of_a_real_vla_fit_an_update_and_the_size_of_the_networks_alone_grows(name: str) -> None:
    """1,952 features and 50 x 32 noise numbers, as of a SmolVLA of 450 M parameters with noise=full."""
    features, dim = 1952, 1600
    algorithm, buffer = learner(name, features, dim, hidden=128, depth=2), filled(features, dim)
    algorithm.critic_warmup_updates = 1
    with policy_within_training_step(algorithm.policy):
        stats = [*algorithm.warm_up(buffer, 8), *algorithm.learn(buffer, 8, 1)]
    numbers = [float(value) for one in stats for value in one.get_loss_stats_dict().values()]
    assert numbers
    assert np.isfinite(numbers).all()
    assert algorithm.act(torch.randn(2, features), torch.randn(2, dim)).shape == (2, dim)
    largest = 4 * 128 * (features + 2 * dim) * (1 + 2 * 10)  # bytes: an actor, up to ten critics and their targets
    assert sum(one.nbytes for one in algorithm.parameters()) < 1.2 * largest


@NEEDS_CUDA
@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_on_cuda_starts_as_on_the_cpu_learns_and_is_restored_on_either(name: str) -> None:
    worlds = env()
    buffer = played(worlds)
    on_cpu, on_cuda = (build_algorithm(name, worlds, critic_warmup_updates=2).to(device) for device in ("cpu", "cuda"))
    features = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(on_cuda.act(features), on_cpu.act(features))
    with policy_within_training_step(on_cuda.policy):
        on_cuda.warm_up(buffer, 8)
        on_cuda.learn(buffer, 8, 3)
    on_cpu.load_state_dict(on_cuda.state_dict())
    torch.testing.assert_close(on_cuda.act(features), on_cpu.act(features), rtol=1e-4, atol=1e-5)
    for algorithm in (on_cpu, on_cuda):
        algorithm.load_state_dict(on_cpu.state_dict())
        with policy_within_training_step(algorithm.policy):
            algorithm.learn(buffer, 8, 1)
    assert {one.device.type for one in on_cuda.parameters()} == {"cuda"}
