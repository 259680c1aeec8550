"""Datasets and checkpoints from somebody else are checked before pre-training opens them: one sentence each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from safetensors.torch import load_file, save_file
from toys.tiny_smolvla import make_tiny_checkpoint

from scripts.lerobot_dataset import create_dataset
from scripts.pretrain import __main__ as pretrain
from scripts.pretrain.smolvla import load_policy

FEATURES = {
    "observation.state": PolicyFeature(FeatureType.STATE, (5,)),
    "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 32)),
    "action": PolicyFeature(FeatureType.ACTION, (4,)),
}


class Numbers:
    """A task of two numbers of state and one of action, for the columns of its dataset."""

    num_envs, state_dim, action_dim, max_steps, has_success = 1, 2, 1, 8, False
    cameras: dict[str, tuple[int, int, int]] = {}  # noqa: RUF012


def make_dataset(folder: Path, value: float = 0.0) -> Path:
    """Write four episodes of eight frames; `value` is the first number of their states."""
    generator = np.random.default_rng(0)
    writer = create_dataset(folder, Numbers(), 10, 4)
    for _ in range(4):
        for _ in range(8):
            state, action = (generator.normal(size=size).astype(np.float32) for size in (2, 1))
            state[0] = value
            writer.add_frame({"observation.state": state, "action": action, "task": "pick"})
        writer.save_episode()
    writer.finalize()
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny SmolVLA."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def _pretrain(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the sentence that ends pre-training."""
    with pytest.raises(SystemExit) as ended:
        pretrain.main(list(arguments))
    text = str(ended.value.code) if isinstance(ended.value.code, str) else capsys.readouterr().err.strip()
    assert "\n" not in text
    return text


def test_a_dataset_that_reaches_beyond_its_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_dataset(tmp_path / "demos")
    (part,) = folder.glob("data/*/*.parquet")
    part.rename(tmp_path / "elsewhere.parquet")
    part.symlink_to(tmp_path / "elsewhere.parquet")
    sentence = _pretrain(
        capsys, "--policy", "flow_mlp", "--dataset", str(folder), "--out", str(tmp_path / "out"), "--steps", "1"
    )
    assert sentence.startswith(f"error: --dataset {folder}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_dataset_with_numbers_that_are_not_finite_is_refused(
    value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_dataset(tmp_path / "demos", value)
    sentence = _pretrain(
        capsys, "--policy", "flow_mlp", "--dataset", str(folder), "--out", str(tmp_path / "out"), "--steps", "1"
    )
    assert sentence.startswith(f"error: --dataset {folder}")
    assert "not finite" in sentence


def test_a_checkpoint_to_start_from_has_its_own_weights_and_can_learn(checkpoint: Path) -> None:
    policy = load_policy(str(checkpoint), FEATURES, "all")
    stored = load_file(checkpoint / "model.safetensors")
    assert stored
    loaded = policy.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())
    assert any(weight.requires_grad for weight in policy.parameters())


def _another_type(folder: Path) -> None:
    _edit(folder / "config.json", type="act")


def _remote_code(folder: Path) -> None:
    _edit(folder / "vlm" / "config.json", auto_map={"AutoConfig": "canary.Config"})


def _backbone_elsewhere(folder: Path) -> None:
    _edit(folder / "config.json", vlm_model_name="../vlm")


def _missing_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, folder / "model.safetensors")


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("damage", [_another_type, _remote_code, _backbone_elsewhere, _missing_weight, _pickle])
def test_a_checkpoint_that_would_not_be_steered_is_no_start_either(
    damage: object, checkpoint: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    assert callable(damage)
    damage(copy)
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        load_policy(str(copy), FEATURES, "expert")
    assert "\n" not in str(raised.value)
    assert str(copy) in str(raised.value)
