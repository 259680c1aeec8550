"""The contract of a steerable policy, tested on every implementation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dsrl.interfaces import Encoding, Observation, Policy
from dsrl.policy.identity import IdentityPolicy

NUM_WORLDS = 4
World = tuple[Policy, Observation]


def make_smolvla(folder: Path) -> World:
    from toys.tiny_smolvla import IMAGE_SIZE, make_tiny_checkpoint

    from dsrl.policy.smolvla import SmolVLA

    policy = SmolVLA(str(make_tiny_checkpoint(folder / "tiny", cameras=("front", "wrist"))), "cpu", "checkpoint")
    shape = (NUM_WORLDS, 3, IMAGE_SIZE, IMAGE_SIZE)
    images = {camera: torch.randint(256, shape, dtype=torch.uint8) for camera in policy.embodiment.cameras}
    instructions = ("pick up the red cube", "put it now", "pick up the green cube now", "")
    return policy, Observation(torch.randn(NUM_WORLDS, policy.embodiment.state_dim), images, instructions)


def make_identity(folder: Path) -> World:
    box = SimpleNamespace(state_dim=3, action_low=torch.tensor([-2.0, 0.0]), action_high=torch.tensor([2.0, 1.0]))
    return IdentityPolicy(box), Observation(torch.randn(NUM_WORLDS, 3), {}, ("",) * NUM_WORLDS)


def make_mlp(kind: str, folder: Path) -> World:
    from toys.mlp_checkpoints import load, make_mlp_checkpoint

    policy = load(kind, make_mlp_checkpoint(folder / kind, kind), num_steps=None)
    return policy, Observation(torch.randn(NUM_WORLDS, policy.feature_dim), {}, ("",) * NUM_WORLDS)


def make_lerobot(kind: str, folder: Path) -> World:
    from toys.tiny_diffusion import make_tiny_diffusion
    from toys.tiny_dit import make_tiny_dit
    from toys.tiny_eo1 import make_tiny_eo1
    from toys.tiny_pi import make_tiny_pi, small_sizes

    from dsrl.policy.lerobot import load_policy

    makers = {"diffusion": make_tiny_diffusion, "multi_task_dit": make_tiny_dit, "eo1": make_tiny_eo1}
    make = makers.get(kind, partial(make_tiny_pi, kind=kind))
    with small_sizes():
        policy = load_policy(str(make(folder / kind)), "cpu", "checkpoint")
    past = () if policy.num_observations == 1 else (policy.num_observations,)
    images = {
        camera: torch.randint(256, (NUM_WORLDS, *past, *shape), dtype=torch.uint8)
        for camera, shape in policy.embodiment.image_shapes.items()
    }
    state = torch.randn(NUM_WORLDS, *past, policy.embodiment.state_dim)
    return policy, Observation(state, images, ("pick up the red cube", "put it now", "the green cube", ""))


MAKERS: dict[str, Callable[[Path], World]] = {
    "smolvla": make_smolvla,
    **{kind: partial(make_lerobot, kind) for kind in ("diffusion", "multi_task_dit", "pi0", "pi05", "eo1")},
    "identity": make_identity,
    "flow_mlp": partial(make_mlp, "flow_mlp"),
    "diffusion_mlp": partial(make_mlp, "diffusion_mlp"),
}


@pytest.fixture(scope="module", params=MAKERS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MAKERS[request.param](tmp_path_factory.mktemp("policy"))


@pytest.fixture
def noise(world: World) -> torch.Tensor:
    return torch.randn(NUM_WORLDS, *world[0].noise_shape, generator=torch.Generator().manual_seed(1))


def copied(encoding: Encoding) -> Encoding:
    return Encoding(encoding.features.clone(), {key: value.clone() for key, value in encoding.context.items()})


def test_shapes_are_those_that_the_policy_declares(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    encoding = policy.encode(observation)
    chunk = policy.decode(encoding, noise)
    assert encoding.features.shape == (NUM_WORLDS, policy.feature_dim)
    assert encoding.features.dtype == chunk.dtype == torch.float32
    assert all(len(value) == NUM_WORLDS for value in encoding.context.values())
    assert chunk.shape == (NUM_WORLDS, *policy.chunk_shape)


def test_the_same_noise_gives_the_same_chunk_to_the_last_bit(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    encoding = policy.encode(observation)
    chunk = policy.decode(encoding, noise)
    policy.decode(encoding, -noise)  # no state may remain from another call
    assert torch.equal(policy.decode(encoding, noise), chunk)
    assert torch.equal(policy.decode(policy.encode(observation), noise), chunk)


def test_every_world_is_steered_by_its_own_noise_and_by_no_other(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    encoding = policy.encode(observation)
    changed = noise.clone()
    changed[1] = -noise[1]
    moved = (policy.decode(encoding, changed) - policy.decode(encoding, noise)).abs().amax(dim=(1, 2))
    assert moved[1] > 1e-3
    assert torch.all(moved[[0, 2, 3]] == 0)


def test_rows_of_a_batch_equal_those_of_each_world_alone(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    encoding, rows = policy.encode(observation), torch.tensor([2, 0])
    chunk = policy.decode(encoding, noise)
    alone = policy.encode(observation[rows])
    torch.testing.assert_close(alone.features, encoding.features[rows], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(policy.decode(alone, noise[rows]), chunk[rows], rtol=0, atol=1e-5)
    torch.testing.assert_close(policy.decode(encoding[rows], noise[rows]), chunk[rows], rtol=0, atol=1e-5)


def test_inputs_are_not_modified(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    state, images = observation.state.clone(), {name: image.clone() for name, image in observation.images.items()}
    encoding = policy.encode(observation)
    encoding_before, noise_before = copied(encoding), noise.clone()
    policy.decode(encoding, noise).zero_()
    assert torch.equal(observation.state, state)
    assert all(torch.equal(observation.images[name], image) for name, image in images.items())
    assert torch.equal(noise, noise_before)
    assert torch.equal(encoding.features, encoding_before.features)
    assert all(torch.equal(value, encoding_before.context[key]) for key, value in encoding.context.items())


def test_features_and_chunks_carry_no_gradient_but_may_enter_a_loss(world: World, noise: torch.Tensor) -> None:
    policy, observation = world
    encoding = policy.encode(observation)
    weight = torch.ones((), requires_grad=True)
    (weight * encoding.features.sum() + weight * policy.decode(encoding, noise).sum()).backward()
    assert weight.grad is not None
    assert not encoding.features.requires_grad
