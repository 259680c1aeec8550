"""Datasets and checkpoints from somebody else are checked before pre-training opens them: one sentence each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from safetensors.torch import load_file, save_file
from toys.tiny_smolvla import make_tiny_checkpoint

from scripts._lerobot_dataset import create_dataset
from scripts.pretrain import __main__ as pretrain
from scripts.pretrain.smolvla import load_policy

Damage = Callable[[Path], Any]
FEATURES = {
    "observation.state": PolicyFeature(FeatureType.STATE, (5,)),
    "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 32)),
    "action": PolicyFeature(FeatureType.ACTION, (4,)),
}


class Numbers:
    """A task of two numbers of state and one of action, and perhaps a camera, for the columns of its dataset."""

    num_envs, state_dim, action_dim, max_steps, has_success = 1, 2, 1, 8, False

    def __init__(self, cameras: dict[str, tuple[int, int, int]]) -> None:
        self.cameras = cameras


def make_dataset(
    folder: Path, value: float | None = None, *, camera: bool = False, wrist: tuple[int, int, int] | None = None
) -> Path:
    """Write four episodes of eight frames; `value` is the first number of their states."""
    generator = np.random.default_rng(0)
    task = Numbers(({"front": (3, 32, 32)} if camera else {}) | ({"wrist": wrist} if wrist else {}))
    writer = create_dataset(folder, task, 10, 4)
    for _ in range(4):
        for _ in range(8):
            state, action = (generator.normal(size=size).astype(np.float32) for size in (2, 1))
            state[0] = state[0] if value is None else value
            views = {
                f"observation.images.{name}": np.zeros((*size[1:], 3), np.uint8) for name, size in task.cameras.items()
            }
            writer.add_frame({"observation.state": state, "action": action, "task": "pick", **views})
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


@pytest.mark.usefixtures("in_this_process")
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


def test_a_checkpoint_to_start_from_has_its_own_weights_and_can_learn(checkpoint: Path, tmp_path: Path) -> None:
    policy = load_policy(str(checkpoint), FEATURES, "all", tmp_path)
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


@pytest.mark.usefixtures("in_this_process")
def test_a_dataset_whose_cameras_differ_in_size_is_named_with_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_dataset(tmp_path / "demos", camera=True, wrist=(3, 48, 32))
    out = str(tmp_path / "out")
    sentence = _pretrain(capsys, "--policy", "diffusion", "--dataset", str(folder), "--out", out, "--steps", "1")
    assert sentence.startswith(f"error: --dataset {folder} has cameras of several sizes (observation.images.front [32")
    assert sentence.endswith("remove a camera with lerobot-edit-dataset --operation.type=remove_feature")


@pytest.mark.parametrize("damage", [_another_type, _remote_code, _backbone_elsewhere, _missing_weight, _pickle])
def test_a_checkpoint_that_would_not_be_steered_is_no_start_either(
    damage: object, checkpoint: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    assert callable(damage)
    damage(copy)
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        load_policy(str(copy), FEATURES, "expert", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert str(copy) in str(raised.value)


def test_nothing_but_sizes_and_tokenizer_of_a_backbone_is_copied(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (tmp_path / "secret.txt").write_text("secret")
    (copy / "vlm" / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (copy / "vlm" / "endless.txt").symlink_to("/dev/zero")
    (copy / "vlm" / "modeling.py").write_text("raise SystemExit")
    os.mkfifo(copy / "vlm" / "pipe.txt")
    load_policy(str(copy), FEATURES, "expert", tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").rglob("*")}
    assert {"vlm", "config.json", "tokenizer.json"} <= written
    assert not written & {"notes.txt", "endless.txt", "modeling.py", "pipe.txt"}


CLONE = {
    "flow_mlp": ["--policy", "flow_mlp", "--hidden", "8", "--depth", "1", "--held-out", "0.3"],
    "diffusion": ["--policy", "diffusion", "--robot-state", "1", "--width", "8", "--horizon", "8", "--chunk", "4"],
    "smolvla": ["--policy", "smolvla", "--init", "CHECKPOINT", "--held-out", "1"],
}


def _stats(folder: Path, **changes: object) -> None:
    file = folder / "meta" / "stats.json"
    content = json.loads(file.read_text())
    content["observation.state"].update(changes)
    file.write_text(json.dumps(content))


def _no_column(name: str) -> Damage:
    def change(folder: Path) -> None:
        (part,) = folder.glob("data/*/*.parquet")
        pq.write_table(pq.read_table(part).drop([name]), part)
        info = json.loads((folder / "meta" / "info.json").read_text())
        del info["features"][name]
        (folder / "meta" / "info.json").write_text(json.dumps(info))

    return change


USELESS: dict[str, tuple[str, Damage]] = {
    "diffusion: no statistics": ("has no min and max of", lambda folder: (folder / "meta/stats.json").unlink()),
    "diffusion: other statistics": (
        "has statistics of",
        lambda folder: _stats(folder, min=[0] * 3, max=[1] * 3),
    ),
    "diffusion: no spread": ("has no spread in", lambda folder: _stats(folder, min=[0, 0], max=[0, 0])),
    "smolvla: other statistics": ("has statistics of", lambda folder: _stats(folder, mean=[0] * 5, std=[1] * 5)),
    "smolvla: no state": ("has no observation.state", _no_column("observation.state")),
    "smolvla: no action": ("has no action", _no_column("action")),
    "smolvla: no images": ("has no images", _no_column("observation.images.front")),
}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("case", USELESS)
def test_a_dataset_whose_policy_could_not_be_steered_is_refused_before_anything_is_learnt(
    case: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, (words, damage) = case.partition(":")[0], USELESS[case]
    folder = make_dataset(tmp_path / "demos", camera=policy == "smolvla")
    damage(folder)
    options = [str(checkpoint) if word == "CHECKPOINT" else word for word in CLONE[policy]]
    sentence = _pretrain(capsys, *options, "--dataset", str(folder), "--out", str(tmp_path / "out"), "--steps", "1")
    assert sentence.startswith(f"error: --dataset {folder} {words}")
    assert [path.name for path in tmp_path.iterdir()] == ["demos"]


@pytest.mark.usefixtures("in_this_process")
def test_a_loss_that_is_not_finite_ends_pretraining_without_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_dataset(tmp_path / "demos")
    (part,) = folder.glob("data/*/*.parquet")
    table = pq.read_table(part)
    huge = pa.array([[3e38, 3e38] if row % 2 else [-3e38, 0.0] for row in range(len(table))], pa.list_(pa.float32(), 2))
    pq.write_table(table.set_column(table.schema.get_field_index("observation.state"), "observation.state", huge), part)
    sentence = _pretrain(
        capsys, *CLONE["flow_mlp"], "--dataset", str(folder), "--out", str(tmp_path / "out"), "--steps", "2"
    )
    assert sentence.startswith("error: the loss of step 1 is nan; type a lower --rate")
    assert [path.name for path in tmp_path.iterdir()] == ["demos"]


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_nothing_that_is_there_is_overwritten(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.safetensors").write_text("mine")
    out = {"folder": mine, "link": tmp_path / "link", "file": mine / "model.safetensors"}[kind]
    (tmp_path / "link").symlink_to(mine)
    sentence = _pretrain(capsys, *CLONE["flow_mlp"], "--dataset", "data/x", "--out", str(out))
    assert sentence == f"error: --out {out} exists already; name a new folder or delete it"
    assert [path.name for path in mine.iterdir()] == ["model.safetensors"]
    assert (mine / "model.safetensors").read_text() == "mine"
