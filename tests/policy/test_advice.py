"""A refused checkpoint loads once the advice of its sentence is followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from policy.checkpoints import edit, refusal
from safetensors.torch import load_file, save_file
from toys.tiny_diffusion import make_tiny_diffusion

from dsrl.interfaces import Observation
from dsrl.policy.lerobot import load_policy


def load(path: str, dtype: str = "checkpoint") -> object:
    return load_policy(path, "cpu", dtype)


@pytest.mark.parametrize("place", ["outputs/it's x", "outputs/it's x/checkpoints", "outputs/it's x/checkpoints/last"])
def test_a_folder_of_lerobots_training_is_told_the_checkpoint_inside(place: str, tmp_path: Path) -> None:
    step = tmp_path / "outputs" / "it's x" / "checkpoints" / "002000"
    inner = make_tiny_diffusion(step / "pretrained_model")
    (step.parent / "last").symlink_to("002000")
    sentence = refusal(tmp_path / place, load)
    assert "is of a training; type policy.path='" in sentence
    assert sentence.replace("'\"'\"'", "'").endswith("checkpoints/last/pretrained_model'")
    (inner / "model.safetensors").unlink()
    assert "lacks" in refusal(tmp_path / place, load)


def test_weights_of_two_types_in_one_network_are_told_the_type_that_runs(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x")
    file = folder / "model.safetensors"
    weights = load_file(file)
    half = {name: one.bfloat16() for name, one in weights.items() if name.endswith(".0.weight")}
    save_file({**weights, **half}, file)
    assert "of bfloat16 and float32: type policy.dtype=float32, or get the checkpoint anew" in refusal(folder, load)
    load(str(folder), "float32")


@pytest.mark.parametrize("device", ["cuda", "mps", "cuda:9"])
def test_a_postprocessor_of_a_device_that_is_not_here_returns_chunks_on_the_cpu(device: str, tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x")
    file = folder / "policy_postprocessor.json"
    (step,) = [one for one in json.loads(file.read_text())["steps"] if one["registry_name"] == "device_processor"]
    assert step["config"]["device"] == "cpu"
    edit(file, lambda saved: [one["config"].update(device=device) for one in saved["steps"] if one == step] and None)
    policy = load_policy(str(folder), "cpu", "checkpoint")
    state, images = torch.zeros(1, 2, 2), {"front": torch.zeros(1, 2, 3, 64, 64, dtype=torch.uint8)}
    encoding = policy.encode(Observation(state, images, ("",)))
    assert policy.decode(encoding, torch.zeros(1, *policy.noise_shape)).device.type == "cpu"


def test_a_constant_number_of_the_state_is_told_a_spread_that_is_taken(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x")
    (file,) = folder.glob("policy_preprocessor_*normalizer*.safetensors")
    stats = load_file(file)
    for bound in ("min", "max"):
        stats[f"observation.state.{bound}"][1] = 5
    save_file(stats, file)
    assert refusal(folder, load).endswith("set max of these dimensions to 1 above their min in the statistics")
    stats["observation.state.max"][1] = 5 + 1
    save_file(stats, file)
    load(str(folder))
