"""A refused checkpoint loads once the advice of its sentence is followed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import make_pre_post_processors
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


def test_a_whole_policy_that_was_merged_is_told_where_it_still_counts_as_an_adapter(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x")
    edit(folder / "config.json", lambda saved: saved.update(use_peft=True))
    assert refusal(folder, load).endswith(
        "has use_peft in config.json but no adapter_config.json; set use_peft to false there"
    )
    (folder / "adapter_config.json").write_text("{}")
    assert "is a PEFT adapter, not a whole policy" in refusal(folder, load)
    (folder / "adapter_config.json").unlink()
    edit(folder / "config.json", lambda saved: saved.update(use_peft=False))
    load(str(folder))


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


@pytest.mark.parametrize("renamed", [("z", "a"), ("a",)], ids=["all cameras", "one of two"])
def test_statistics_under_the_names_before_rename_map_are_told_what_gives_lerobots_chunks(
    renamed: Sequence[str], tmp_path: Path
) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", cameras=("z", "a"))
    (file,) = folder.glob("policy_preprocessor_*normalizer*.safetensors")
    names = {f"observation.images.{name}": f"observation.images.{name}_before" for name in renamed}
    stats = {
        names.get(key.rpartition(".")[0], key.rpartition(".")[0]) + key[key.rindex(".") :]: value
        for key, value in load_file(file).items()
    }
    save_file(stats, file)
    steps = folder / "policy_preprocessor.json"
    edit(steps, lambda saved: saved["steps"][0]["config"].update(rename_map={old: new for new, old in names.items()}))
    config = DiffusionConfig.from_pretrained(folder)
    before, _ = make_pre_post_processors(config, str(folder))
    images = {old: torch.rand(3, 64, 64) for old in ["observation.images.z", *names.values()]}
    expected = before({"observation.state": torch.zeros(2), **images})

    sentence = refusal(folder, load)
    assert f"has no mean and std of observation.images.{renamed[0]}" in sentence
    assert f"it trained observation.images.{renamed[0]} without normalisation; " in sentence
    if len(renamed) == 2:
        words = 'write "VISUAL": "IDENTITY" in the norm_map of normalizer_processor in policy_preprocessor.json for'
        assert words in sentence
        step = next(i for i, one in enumerate(json.loads(steps.read_text())["steps"]) if "norm_map" in one["config"])
        edit(steps, lambda saved: saved["steps"][step]["config"]["norm_map"].update(VISUAL="IDENTITY"))
    else:
        assert "add mean=0 and std=1 of observation.images.a to the statistics for lerobot's chunks" in sentence
        numbers = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
        save_file({**stats, **{f"observation.images.a.{name}": value for name, value in numbers.items()}}, file)
    policy: Any = load(str(folder))
    found = policy._preprocess({"observation.state": torch.zeros(2), **images})
    for key in config.image_features:
        assert torch.equal(found[key], expected[key])
