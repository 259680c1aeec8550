"""The memory of an algorithm's networks is counted before they are built, that of wide noise and long chunks too."""

from __future__ import annotations

import pytest
import torch
from omegaconf import DictConfig
from toys.algorithms import build_algorithm
from toys.guess import Echo, Guess
from toys.options import OPTIONS

from dsrl.noise.full import FullNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.run.components import build, network_memory
from dsrl.run.terminal.errors import UserError, user_errors

LENGTH = 1000


class Long(Echo):
    noise_shape, chunk_shape = (LENGTH, 1), (LENGTH, 1)


@pytest.mark.parametrize(
    ("name", "bytes_per_weight"),
    [
        *(("dsrl_sac", 20), ("dsrl_pi0", 20), ("lp_ds", 20)),  # no critics of chunks
        *(("dsrl_na", 40), ("dsrl_edit", 40), ("dsrl_select", 40)),
    ],
)
def test_networks_that_do_not_fit_the_free_memory_are_refused(
    name: str, bytes_per_weight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = NoiseActionEnv(Guess(2, max_steps=LENGTH), Long(), FullNoise((LENGTH, 1), 1.0, None), horizon=LENGTH)
    weights = sum(weight.numel() for weight in build_algorithm(name, env).parameters())  # those of targets among them
    monkeypatch.setattr(network_memory, "available_memory", lambda: 8 * weights)
    node = DictConfig({"_target_": f"dsrl.sac.{name}.build_{name}", **OPTIONS[name]})
    with (
        pytest.raises(UserError, match=r"make networks of .* GiB for 1 features, 1000 numbers of noise"),
        user_errors(),
    ):
        build._algorithm(node, env, seed=0, device="cpu")
    monkeypatch.setattr(network_memory, "available_memory", lambda: bytes_per_weight * weights)
    assert isinstance(build._algorithm(node, env, seed=0, device="cpu"), torch.nn.Module)
