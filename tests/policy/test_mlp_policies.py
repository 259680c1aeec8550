"""MLP policies: their equations against references in NumPy, their training, their checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from toys.mlp_checkpoints import CHUNK, KINDS, load, make_config, make_mlp_checkpoint

from dsrl.interfaces import Encoding, Observation
from dsrl.policy import diffusion_mlp, flow_mlp
from dsrl.policy._mlp import FARTHEST
from dsrl.policy._mlp_checkpoint import CONFIG, WEIGHTS, load_checkpoint
from dsrl.task.simple_pick import SimplePick
from scripts.pretrain import __main__ as pretrain
from scripts.pretrain.mlp import Clips, Recordings

Floats = NDArray[np.float64]


def numpy_network(weights: dict[str, torch.Tensor]) -> Callable[[Floats, Floats, float], Floats]:
    """Rebuild the network in NumPy from the stored weights: (features, noisy, time) -> prediction."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}

    def silu(x: Floats) -> Floats:
        return np.asarray(x / (1 + np.exp(-x)))

    def predict(features: Floats, noisy: Floats, time: float) -> Floats:
        angles = time * 64.0 ** (np.arange(16) / 15)
        hidden = silu(features @ w["from_state.0.weight"].T + w["from_state.0.bias"])
        hidden = hidden @ w["from_state.2.weight"].T + w["from_state.2.bias"]
        hidden = hidden + np.concatenate([np.sin(angles), np.cos(angles)]) @ w["from_time.weight"].T
        hidden = hidden + noisy @ w["from_noisy.weight"].T
        for layer in ("residual.0", "residual.1"):
            hidden = hidden + silu(hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
        return np.asarray(hidden @ w["out.weight"].T + w["out.bias"])

    return predict


def reference_flow(predict: Callable[[Floats, Floats, float], Floats], features: Floats, noise: Floats) -> Floats:
    """Integrate by four Euler steps from t = 1 to t = 0."""
    x = noise
    for time in (1.0, 0.75, 0.5, 0.25):
        x = x - 0.25 * predict(features, x, time)
    return np.clip(x, -1, 1)


def reference_ddim(predict: Callable[[Floats, Floats, float], Floats], features: Floats, noise: Floats) -> Floats:
    """Sample by DDIM with eta = 0 at four of twelve training levels: 9, 6, 3, 0."""

    def signal_share(k: int) -> float:  # ᾱ of the level, with β clipped at 0.999, which only the last one reaches
        product = 1.0
        for i in range(k + 1):
            here, there = (np.cos((t / 12 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in (i + 1, i))
            product *= 1 - min(1 - here / there, 0.999)
        return product

    x = noise
    for k, following in ((9, signal_share(6)), (6, signal_share(3)), (3, signal_share(0)), (0, 1.0)):
        predicted = predict(features, x, k / 12)
        clean = np.clip((x - np.sqrt(1 - signal_share(k)) * predicted) / np.sqrt(signal_share(k)), -1, 1)
        predicted = (x - np.sqrt(signal_share(k)) * clean) / np.sqrt(1 - signal_share(k))
        x = np.sqrt(following) * clean + np.sqrt(1 - following) * predicted
    return np.clip(x, -1, 1)


@pytest.mark.parametrize(("kind", "reference"), [("flow_mlp", reference_flow), ("diffusion_mlp", reference_ddim)])
def test_a_chunk_equals_that_of_the_sampler_in_numpy(kind: str, reference: Any, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "policy", kind)
    config = make_config(kind)
    state, noise = 2 * torch.randn(6, config.state_dim), torch.randn(6, CHUNK, config.action_dim)
    policy = load(kind, folder, num_steps=4)
    chunk = policy.decode(policy.encode(Observation(state, {}, ("",) * 6)), noise)

    features = np.clip((state.double().numpy() - config.state_mean) / np.array(config.state_std), -FARTHEST, FARTHEST)
    flat = reference(numpy_network(load_file(folder / WEIGHTS)), features, noise.double().numpy().reshape(6, -1))
    low, high = np.array(config.action_low), np.array(config.action_high)
    expected = low + (flat.reshape(6, CHUNK, -1) + 1) / 2 * (high - low)
    np.testing.assert_allclose(chunk.numpy(), expected, rtol=1e-4, atol=1e-4)
    inside = np.abs(flat) < 1
    assert inside.mean() > 0.2  # the clip does not hide the rest


@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_a_constant_velocity_is_followed_exactly_whatever_the_number_of_steps(num_steps: int, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "policy", "flow_mlp")
    weights = load_file(folder / WEIGHTS)
    velocity = torch.linspace(-0.5, 0.5, CHUNK * 2)
    save_file({**weights, "out.weight": 0 * weights["out.weight"], "out.bias": velocity}, folder / WEIGHTS)
    noise = torch.rand(5, CHUNK, 2) - 0.5
    policy = load("flow_mlp", folder, num_steps=num_steps)
    chunk = policy.decode(Encoding(torch.zeros(5, 3), {}), noise)
    low, high = (torch.tensor(end) for end in (make_config("flow_mlp").action_low, make_config("flow_mlp").action_high))
    torch.testing.assert_close(chunk, low + (noise - velocity.view(CHUNK, 2) + 1) / 2 * (high - low))


def test_the_schedule_starts_clean_and_ends_as_noise_and_twenty_levels_give_the_published_five() -> None:
    kept = diffusion_mlp.cosine_schedule(20)
    assert kept[0] > 0.97
    assert kept[-1] < 1e-4
    assert (kept.diff() < 0).all()
    assert diffusion_mlp.ddim_levels(20, 5) == [16, 12, 8, 4, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_training_is_that_of_the_known_noise_at_the_drawn_level(kind: str) -> None:
    config = make_config(kind)
    network = config.build()
    features, chunk, noise = torch.randn(5, 3), torch.rand(5, CHUNK * 2) * 2 - 1, torch.randn(5, CHUNK * 2)
    level = torch.tensor([0.0, 0.24, 0.5, 0.76, 0.99])
    errors = {"flow_mlp": flow_mlp, "diffusion_mlp": diffusion_mlp}[kind].squared_errors
    found = errors(network, config, features, chunk, noise, level)
    for row in range(5):
        if kind == "flow_mlp":
            time = float(level[row])
            noisy, truth = time * noise[row] + (1 - time) * chunk[row], noise[row] - chunk[row]
        else:
            k = [0, 2, 6, 9, 11][row]  # of twelve
            kept = float(diffusion_mlp.cosine_schedule(12)[k])
            time, noisy, truth = k / 12, kept**0.5 * chunk[row] + (1 - kept) ** 0.5 * noise[row], noise[row]
        timed = network.timed(torch.tensor([time]))
        expected = (network(network.from_state(features[row : row + 1]), noisy[None], timed)[0] - truth) ** 2
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def two_ways(num_episodes: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw states [E, L, 3] and actions [E, L, 2]: one beside an affine map on either side, one on it."""
    generator = torch.Generator().manual_seed(seed)
    state = torch.rand(num_episodes, length, 3, generator=generator) * 4 + 1
    side = torch.randint(2, (num_episodes, length, 1), generator=generator) * 2.0 - 1
    affine = state[..., :1] - 0.5 * state[..., 1:2]
    return state, torch.cat([affine + 3 * side, 10 * affine], 2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `two_ways` as a LeRobotDataset."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = tmp_path_factory.mktemp("data") / "two_ways"
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
    }
    writer = LeRobotDataset.create("local/two_ways", 10, features, root=folder, use_videos=False)
    for states, actions in zip(*two_ways(16, 96, seed=0), strict=True):
        for state, action in zip(states.numpy(), actions.numpy(), strict=True):
            writer.add_frame({"observation.state": state, "action": action, "task": ""})
        writer.save_episode()
    writer.finalize()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_training_recovers_an_affine_map_and_both_ways_around_it(kind: str, dataset: Path, tmp_path: Path) -> None:
    size = ["--chunk", "1", "--hidden", "64", "--depth", "3", "--steps", "1000", "--batch", "64"]
    command = ["--policy", kind, "--dataset", str(dataset), "--out", str(tmp_path / "new"), *size, "--rate", "3e-3"]
    pretrain.main([*command, "--num-steps", "10", "--evaluate-every", "500"])
    policy = load(kind, tmp_path / "new", num_steps=None)
    state = two_ways(1, 500, seed=1)[0][0]
    noise = torch.randn(500, 1, 2, generator=torch.Generator().manual_seed(2))
    chunk = policy.decode(policy.encode(Observation(state, {}, ("",) * 500)), noise)[:, 0]
    affine = state[:, 0] - 0.5 * state[:, 1]
    offset = chunk[:, 0] - affine
    assert 0.35 < (offset > 0).float().mean() < 0.65  # both ways, as often as in the data
    assert (offset.abs() - 3).abs().median() < 0.75  # a single Gaussian as wide has 1.7
    assert (chunk[:, 1] - 10 * affine).abs().median() < 1.5  # of a range of 50


def test_actions_after_the_end_of_an_episode_are_not_learnt() -> None:
    config = replace(make_config("flow_mlp"), chunk=4)
    actions = torch.rand(12, 2)
    recordings = Recordings(torch.randn(12, 3), actions, np.array([0, 7]), np.array([7, 5]))
    clips = Clips(recordings, np.array([0, 5, 6, 9]), config)
    assert clips.is_real.tolist() == [
        [True] * 4,
        [True, True, False, False],
        [True] + [False] * 3,
        [True] * 3 + [False],
    ]
    low, high = torch.tensor(config.action_low), torch.tensor(config.action_high)
    found = low + (clips.chunks + 1) / 2 * (high - low)
    torch.testing.assert_close(found[1], actions[[5, 6, 6, 6]])
    network, rows = config.build(), torch.tensor([2])
    torch.manual_seed(0)
    before = clips.loss("flow_mlp", config, network, rows)
    noise, level = torch.manual_seed(0) and torch.randn(1, 8), torch.rand(1)
    errors = flow_mlp.squared_errors(network, config, clips.features[rows], clips.chunks[rows].flatten(1), noise, level)
    torch.testing.assert_close(before, errors[0, :2].mean())  # the one action that is real


@pytest.mark.parametrize("kind", KINDS)
def test_no_noise_and_no_state_drive_an_action_out_of_the_range_of_the_data(kind: str, tmp_path: Path) -> None:
    policy, config = load(kind, make_mlp_checkpoint(tmp_path, kind), num_steps=None), make_config(kind)
    state = 1e6 * torch.randn(8, config.state_dim)
    encoding = policy.encode(Observation(state, {}, ("",) * 8))
    assert encoding.features.abs().max() <= 10
    chunk = policy.decode(encoding, 50 * torch.randn(8, *policy.noise_shape))
    assert (chunk >= torch.tensor(config.action_low) - 1e-6).all()
    assert (chunk <= torch.tensor(config.action_high) + 1e-6).all()


def test_the_hash_depends_on_weights_and_statistics(tmp_path: Path) -> None:
    first = load("flow_mlp", make_mlp_checkpoint(tmp_path / "one", "flow_mlp"), None)
    assert load("flow_mlp", tmp_path / "one", num_steps=2).policy_sha256() == first.policy_sha256()
    file = tmp_path / "one" / CONFIG
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "state_std": [9.0, 1.0, 1.0]}))
    assert load("flow_mlp", tmp_path / "one", None).policy_sha256() != first.policy_sha256()


def test_a_policy_of_another_task_is_refused_before_anything_is_simulated(tmp_path: Path) -> None:
    policy = load("flow_mlp", make_mlp_checkpoint(tmp_path, "flow_mlp"), None)
    task = partial(SimpleNamespace, cameras={}, state_dim=3, action_dim=2)
    policy.check_fits(task())
    with pytest.raises(ValueError, match=r"has a 3-dim state but the task has a 4-dim one; .*task\.observation=state"):
        policy.check_fits(task(cameras={"front": (3, 4, 4)}, state_dim=4, observation="images"))
    with pytest.raises(ValueError, match=r"a checkpoint trained on this task or another task$"):  # of task=gym
        policy.check_fits(task(cameras={"front": (3, 4, 4)}, state_dim=4))
    with pytest.raises(ValueError, match=r"a 4-dim one; choose a checkpoint trained on this task or another task$"):
        policy.check_fits(task(state_dim=4))
    with pytest.raises(ValueError, match=r"has a 2-dim action but the task has a 7-dim one"):
        policy.check_fits(task(action_dim=7))
    with pytest.raises(ValueError, match=r"the observed state is \(1, 4\) but .* takes \[B, 3\]"):
        policy.encode(Observation(torch.zeros(1, 4), {}, ("",)))
    with pytest.raises(ValueError, match=r"noise has shape \(1, 2\) but this encoding and policy take \(1, 4, 2\)"):
        policy.decode(Encoding(torch.zeros(1, 3), {}), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("kind", "number"), [("flow_mlp", 0), ("diffusion_mlp", 0), ("diffusion_mlp", 13), ("diffusion_mlp", 7)]
)
def test_an_impossible_number_of_steps_is_refused_in_one_sentence(kind: str, number: int, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"policy\.num_steps={number} (but|of .* starts at level 6 of 0 to 11, far) "):
        load(kind, folder, num_steps=number)


def test_a_name_without_a_checkpoint_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"policy\.path=nowhere is not a folder and not a bundled policy; type"):
        load_checkpoint("nowhere", "flow_mlp")
    with pytest.raises(FileNotFoundError, match=r"lacks config\.json and model\.safetensors; a checkpoint of scripts/"):
        load_checkpoint(str(tmp_path), "flow_mlp")
    make_mlp_checkpoint(tmp_path, "diffusion_mlp")
    with pytest.raises(ValueError, match=r"is of kind 'diffusion_mlp' but policy=flow_mlp loads 'flow_mlp' only"):
        load_checkpoint(str(tmp_path), "flow_mlp")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden": None}, r"disagree about the key hidden"),
        ({"colour": 3}, r"disagree about the key colour"),
        ({"hidden": 8}, r"does not fit the sizes of its config\.json"),
        ({"state_std": [1.0, 0.0, 1.0]}, r"no spread of state\[1\], which would divide by nothing"),
        ({"action_high": [-5.0, 5.0]}, r"no spread of action\[0\]"),
        ({"state_std": [1.0, 1.0]}, r"statistics of the state that differ in number"),
        ({"action_high": [1.0, float("nan")]}, r"it holds NaN, which is no finite number"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path, "flow_mlp")
    plain = {**json.loads((folder / CONFIG).read_text()), **change}
    (folder / CONFIG).write_text(
        json.dumps({key: value for key, value in plain.items() if value is not None or key == "train_steps"})
    )
    with pytest.raises(ValueError, match=sentence):
        load_checkpoint(str(folder), "flow_mlp")


def test_damaged_weights_are_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path, "flow_mlp")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is not a whole safetensors file"):
        load_checkpoint(str(folder), "flow_mlp")


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundled_policies_fit_their_task_and_no_task_with_cameras(kind: str) -> None:
    policy = load(kind, Path("simple_pick_state") / kind, num_steps=None)
    worlds = partial(SimplePick, 2, "hand", "sparse", max_steps=32, image_size=96, backend="cpu")
    policy.check_fits(worlds(observation="state"))
    with pytest.raises(ValueError, match=r"has a 13-dim state but the task has a 4-dim one; .*task\.observation=state"):
        policy.check_fits(worlds())
