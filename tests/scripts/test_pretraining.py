"""Base policies from scripted demonstrations: recording, cloning, and a checkpoint that noise steers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys.genesis_worlds import NUM_WORLDS, simple_pick

from dsrl.policy.diffusion_mlp import DiffusionMLP
from dsrl.policy.flow_mlp import FlowMLP
from dsrl.policy.lerobot import load_policy
from dsrl.policy.smolvla import SmolVLA
from dsrl.training.lerobot_columns import SUCCESS
from scripts._lerobot_dataset import create_dataset, open_dataset
from scripts.collect_demos.recording import play, write
from scripts.collect_demos.sloppy_operator import pick, sloppiness
from scripts.pretrain import __main__ as pretrain
from scripts.pretrain import smolvla as pretrain_smolvla
from scripts.pretrain.cloning import choose_frames, hold_out
from scripts.pretrain.prefix_cache import PrefixCache
from scripts.pretrain.small_smolvla import CHUNK, IMAGE_SIZE, make_small_smolvla

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobotDataset of four demonstrations."""
    folder = tmp_path_factory.mktemp("demos") / "simple_pick"
    task = simple_pick()
    writer = create_dataset(folder, task, task.fps, NUM_WORLDS, SUCCESS)
    frames = play(task, list(range(NUM_WORLDS)), np.random.default_rng(0), 0.0, 0.0)
    assert bool(frames[-1][2].all()), "an operator without sloppiness succeeds"
    write(writer, frames, range(NUM_WORLDS))
    writer.finalize()
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small SmolVLA as it is before it learns anything."""
    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    policy = make_small_smolvla(folder, ("front", "wrist"), state_dim=4, action_dim=4)
    policy.config.vlm_model_name = "vlm"
    policy.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("arguments", [["--cache-prefix"], ["--train", "all"]])
def test_demonstrations_become_a_checkpoint_that_noise_steers(
    dataset: Path, untrained: Path, tmp_path: Path, arguments: list[str]
) -> None:
    out = tmp_path / "policy"
    command = ["--dataset", str(dataset), "--init", str(untrained), "--out", str(out), "--steps", "4"]
    pretrain.main([*command, "--batch", "8", "--held-out", "1", "--evaluate-every", "2", *arguments])
    policy = SmolVLA(str(out), "cpu", "checkpoint")  # checks weights, statistics and steering as it loads
    policy.check_fits(simple_pick())
    assert policy.chunk_shape == (CHUNK, 4)


def test_demonstrations_without_images_become_an_mlp_policy(tmp_path: Path) -> None:
    task = simple_pick(observation="state")
    writer = create_dataset(tmp_path / "demos", task, task.fps, NUM_WORLDS, SUCCESS)
    frames = play(task, list(range(NUM_WORLDS)), np.random.default_rng(0), 0.0, 0.0)
    write(writer, frames, range(NUM_WORLDS))
    writer.finalize()
    options = ["--hidden", "16", "--steps", "4", "--batch", "8", "--held-out", "0.25", "--extra-frames", "2"]
    pretrain.main(
        ["--policy", "flow_mlp", "--dataset", str(tmp_path / "demos"), "--out", str(tmp_path / "out"), *options]
    )
    policy = FlowMLP(str(tmp_path / "out"), "cpu")
    policy.check_fits(task)
    assert policy.chunk_shape == (CHUNK, 4)


def test_the_loss_from_cached_prefixes_is_that_of_lerobot(dataset: Path, untrained: Path, tmp_path: Path) -> None:
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    clips = open_dataset(str(dataset), delta_timestamps={"action": [i / 10 for i in range(CHUNK)]})
    policy = pretrain_smolvla.load_policy(
        str(untrained), dataset_to_policy_features(clips.meta.features), "expert", tmp_path
    )
    preprocess, _ = make_pre_post_processors(policy.config, dataset_stats=clips.meta.stats)
    some = pretrain_smolvla.Clips(
        clips, np.array([0, 20, 40]), list(policy.config.image_features)
    )  # 20: a chunk that is cut
    batch = preprocess(some.batch(torch.arange(3)))
    noise, time = torch.randn(3, CHUNK, 4), torch.rand(3)
    cached = PrefixCache(policy, [batch]).loss(policy, torch.arange(3), noise, time)
    assert bool(some.tensors["action_is_pad"][1].any())
    torch.testing.assert_close(cached, policy.forward(batch, noise, time)[0], rtol=1e-3, atol=1e-4)  # half precision


def test_the_frames_of_decisions_and_some_others_are_chosen_per_episode() -> None:
    lengths, starts = np.array([24, 20]), np.array([0, 24])
    first, second = choose_frames(lengths, starts, CHUNK, 3, np.random.default_rng(0))
    assert set(first[:3]) == {0, 8, 16}
    assert set(second[:3]) == {24, 32, 40}
    assert len(set(first)) == 6
    assert second.max() < 44


def test_one_episode_is_too_few_whatever_is_held_out() -> None:
    meta = SimpleNamespace(episodes={"length": [24], "dataset_from_index": [0]})
    splits = (
        lambda: hold_out([np.arange(24)], 0.05, np.random.default_rng(0)),
        lambda: pretrain_smolvla.split(SimpleNamespace(meta=meta), CHUNK, [], Namespace(held_out=1)),
    )
    for split in splits:
        with pytest.raises(ValueError, match=r"^--dataset has 1 episode but .*; record two episodes or more$"):
            split()


@given(x=st.floats(0.45, 0.66), seed=st.integers(0, 1000))
def test_a_sloppy_operator_regresses_to_the_middle_of_the_table(x: float, seed: int) -> None:
    cube = np.tile([x, 0.1, 0.025], (4000, 1))
    along, _ = sloppiness(cube, np.random.default_rng(seed), 0.04, 0.02).T
    expected = -0.04 * np.clip((x - 0.555) / 0.06, -1, 1)
    assert abs(along.mean() - expected) < 0.0025
    assert np.all(sloppiness(cube, np.random.default_rng(seed), 0.0, 0.0)[:, 0] == 0)


def test_a_phase_of_the_script_is_a_chunk_of_the_policy() -> None:
    targets = pick(np.zeros((1, 3)), np.array([[0.5, 0.1]]))
    assert targets.shape == (1, 3 * CHUNK, 4)
    assert targets[0, CHUNK - 1] == pytest.approx([0.5, 0.1, 0.14, 0.08])  # above the cube, open
    assert targets[0, 2 * CHUNK - 1] == pytest.approx([0.5, 0.1, 0.02, 0.0])  # round it, shut
    assert simple_pick().image_size == IMAGE_SIZE


class OneDimensional:
    """A task of one number of state and one of action, for the columns of its dataset."""

    num_envs, action_dim, max_steps, has_success = 1, 1, 12, False

    def __init__(self, cameras: tuple[str, ...], state_dim: int) -> None:
        self.state_dim = state_dim
        self.cameras = dict.fromkeys(cameras, (3, IMAGE_SIZE, IMAGE_SIZE))


def _one_dimensional(folder: Path, cameras: tuple[str, ...], state_dim: int = 1) -> Path:
    """A dataset of four episodes of twelve frames."""
    generator = np.random.default_rng(0)
    writer = create_dataset(folder, OneDimensional(cameras, state_dim), 10, 4)
    for _ in range(4):
        for _ in range(12):
            images = {f"observation.images.{name}": _noise_image(generator) for name in cameras}
            sizes = {"observation.state": state_dim, "action": 1}
            numbers = {key: generator.normal(size=size).astype(np.float32) for key, size in sizes.items()}
            writer.add_frame({**images, **numbers, "task": "pick the red cube"})
        writer.save_episode()
    writer.finalize()
    return folder


def _noise_image(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["flow_mlp", "diffusion_mlp"])
def test_an_mlp_learns_one_dimensional_states_and_actions(kind: str, tmp_path: Path) -> None:
    demos = _one_dimensional(tmp_path / "demos", ())
    options = ["--hidden", "16", "--steps", "4", "--batch", "8", "--held-out", "0.25", "--num-steps", "2"]
    pretrain.main(["--policy", kind, "--dataset", str(demos), "--out", str(tmp_path / "policy"), *options])
    policy = {"flow_mlp": FlowMLP, "diffusion_mlp": DiffusionMLP}[kind](str(tmp_path / "policy"), "cpu")
    assert policy.chunk_shape == (CHUNK, 1)


@pytest.mark.parametrize("cameras", [(), ("front",)])
def test_a_diffusion_policy_of_lerobot_learns_with_and_without_images(cameras: tuple[str, ...], tmp_path: Path) -> None:
    demos, out = _one_dimensional(tmp_path / "demos", cameras, state_dim=3), tmp_path / "policy"
    options = ["--width", "8", "--steps", "2", "--batch", "4", "--held-out", "0.25", "--horizon", "8", "--chunk", "4"]
    split = [] if cameras else ["--robot-state", "1"]
    pretrain.main(["--policy", "diffusion", "--dataset", str(demos), "--out", str(out), *options, *split])
    policy = load_policy(str(out), "cpu", "checkpoint")
    assert (policy.chunk_shape, policy.num_observations) == ((4, 1), 2)
    modes = policy._config.normalization_mapping
    assert all(modes[feature.type.value] != "IDENTITY" for feature in policy._config.input_features.values())
    policy.check_fits(OneDimensional(cameras, state_dim=3))


def test_a_smolvla_learns_one_dimensional_states_and_actions(untrained: Path, tmp_path: Path) -> None:
    demos = _one_dimensional(tmp_path / "demos", ("front", "wrist"))
    command = ["--dataset", str(demos), "--init", str(untrained), "--out", str(tmp_path / "policy"), "--steps", "2"]
    pretrain.main([*command, "--batch", "4", "--held-out", "1", "--cache-prefix"])
    assert SmolVLA(str(tmp_path / "policy"), "cpu", "checkpoint").chunk_shape == (CHUNK, 1)


def test_recording_and_reading_a_dataset_warns_of_no_missing_ffmpeg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_dataset(str(_one_dimensional(tmp_path / "demos", ())))
    assert caplog.text == ""
