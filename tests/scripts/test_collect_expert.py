"""From MetaWorld's scripted expert to a base policy that plays, in tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scripts import collect_expert
from scripts.collect_expert import collect, make_task
from scripts.lerobot_dataset import open_dataset
from scripts.parts import build_parts
from scripts.pretrain.__main__ import main as pretrain_main


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations") / "reach-v3"
    options = ["--name", "reach-v3", "--out", str(folder), "--episodes", "3", "--num-envs", "2", "--noise", "0.1"]
    collect_expert.main(options)
    return folder


def test_every_recorded_demonstration_ends_in_success(dataset: Path) -> None:
    frames = open_dataset(str(dataset)).hf_dataset.with_format("torch")
    ends = frames["episode_index"][:].diff(append=torch.tensor([99])) != 0
    assert ends.sum() == 3
    assert torch.equal(torch.as_tensor(frames["next.success"][:]).flatten(), ends)
    assert torch.equal(torch.as_tensor(frames["next.reward"][:]).flatten(), ends.float())
    assert frames["observation.state"][:].shape[1] == 39


def test_a_base_policy_of_the_demonstrations_plays_chunks_of_32_numbers(dataset: Path, tmp_path: Path) -> None:
    pretrain_main(["--policy", "flow_mlp", "--dataset", str(dataset), "--out", str(tmp_path / "base"), "--steps", "3",
                   "--hidden", "16", "--depth", "1"])  # fmt: skip
    parts = build_parts(["task=metaworld", "task.name=reach-v3", f"policy.path={tmp_path / 'base'}", "num_envs=2"])
    assert parts.noise.dim == 32
    assert parts.policy.chunk_shape == (8, 4)


def test_noise_in_which_no_expert_succeeds_is_one_sentence(tmp_path: Path) -> None:
    task = make_task("pick-place-v3", 20, "state", 32)
    with pytest.raises(ValueError, match=r"--noise 2.0 leaves 0 successes in 20 attempts at pick-place-v3; lower it"):
        collect(task, "pick-place-v3", tmp_path / "none", 1, 2.0, 1)
    assert not (tmp_path / "none").exists()
