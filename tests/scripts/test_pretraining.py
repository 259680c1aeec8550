"""From scripted demonstrations to a lerobot checkpoint that steers: the scripts that make a base policy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys.genesis_worlds import NUM_WORLDS, simple_pick

from dsrl.policy.flow_mlp import FlowMLP
from dsrl.policy.smolvla import SmolVLA
from scripts import collect_demos
from scripts.pretrain import __main__ as pretrain
from scripts.pretrain import smolvla as pretrain_smolvla
from scripts.pretrain.cloning import choose_frames
from scripts.pretrain.prefix_cache import PrefixCache
from scripts.pretrain.small_smolvla import CHUNK, IMAGE_SIZE, make_small_smolvla
from scripts.sloppy_operator import pick, sloppiness


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobotDataset of four demonstrations."""
    folder = tmp_path_factory.mktemp("demos") / "simple_pick"
    task = simple_pick()
    writer = collect_demos.create_dataset(folder, task, "simple_pick")
    frames = collect_demos.record(task, list(range(NUM_WORLDS)), np.random.default_rng(0), 0.0, 0.0)
    assert bool(frames[-1][2].all()), "an operator without sloppiness succeeds"
    collect_demos.write(writer, frames, range(NUM_WORLDS))
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
def test_demonstrations_become_a_checkpoint_that_steers(
    dataset: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    out = tmp_path / "policy"
    command = ["pretrain", "--dataset", str(dataset), "--init", str(untrained), "--out", str(out), "--steps", "4"]
    monkeypatch.setattr(sys, "argv", [*command, "--batch", "8", "--held-out", "1", "--evaluate-every", "2", *arguments])
    pretrain.main()
    policy = SmolVLA(str(out), "cpu", "checkpoint")  # checks weights, statistics and steering as it loads
    policy.check_fits(simple_pick())
    assert policy.chunk_shape == (CHUNK, 4)


def test_demonstrations_without_pictures_become_a_low_dimensional_policy(tmp_path: Path) -> None:
    task = simple_pick(observation="state")
    writer = collect_demos.create_dataset(tmp_path / "demos", task, "simple_pick")
    frames = collect_demos.record(task, list(range(NUM_WORLDS)), np.random.default_rng(0), 0.0, 0.0)
    collect_demos.write(writer, frames, range(NUM_WORLDS))
    writer.finalize()
    options = ["--hidden", "16", "--steps", "4", "--batch", "8", "--held-out", "0.25", "--extra-frames", "2"]
    pretrain.main(["--policy", "flow_mlp", "--dataset", str(tmp_path / "demos"), "--out", str(tmp_path), *options])
    policy = FlowMLP(str(tmp_path), "cpu")
    policy.check_fits(task)
    assert policy.chunk_shape == (CHUNK, 4)


def test_the_loss_from_kept_prefixes_is_lerobots(dataset: Path, untrained: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.utils.feature_utils import dataset_to_policy_features

    clips = LeRobotDataset("local/demos", root=dataset, delta_timestamps={"action": [i / 10 for i in range(CHUNK)]})
    policy = pretrain_smolvla.load_policy(str(untrained), dataset_to_policy_features(clips.meta.features), "expert")
    preprocess, _ = make_pre_post_processors(policy.config, dataset_stats=clips.meta.stats)
    some = pretrain_smolvla.Clips(
        clips, np.array([0, 20, 40]), list(policy.config.image_features)
    )  # 20: a chunk that is cut
    batch = preprocess(some.batch(torch.arange(3)))
    noise, time = torch.randn(3, CHUNK, 4), torch.rand(3)
    kept = PrefixCache(policy, [batch]).loss(policy, torch.arange(3), noise, time)
    assert bool(some.tensors["action_is_pad"][1].any())
    torch.testing.assert_close(kept, policy.forward(batch, noise, time)[0], rtol=1e-3, atol=1e-4)  # kept as halves


def test_an_episode_gives_the_frames_of_its_decisions_and_some_others() -> None:
    lengths, starts = np.array([24, 20]), np.array([0, 24])
    first, second = choose_frames(lengths, starts, CHUNK, 3, np.random.default_rng(0))
    assert set(first[:3]) == {0, 8, 16}
    assert set(second[:3]) == {24, 32, 40}
    assert len(set(first)) == 6
    assert second.max() < 44


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
