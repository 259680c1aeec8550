"""A checkpoint from somebody else runs no code and reads no file outside its folder."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from policy.checkpoints import edit, refusal
from toys.mlp_checkpoints import load as load_mlp
from toys.mlp_checkpoints import make_mlp_checkpoint

from dsrl.interfaces import Observation
from dsrl.policy import _find
from dsrl.policy.smolvla import SmolVLA

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def chunk_of(folder: Path | str) -> torch.Tensor:
    policy = SmolVLA(str(folder), "cpu", "checkpoint")
    images = {"front": torch.full((1, 3, 32, 32), 99, dtype=torch.uint8)}
    encoding = policy.encode(Observation(torch.ones(1, 5), images, ("pick up the red cube",)))
    return policy.decode(encoding, torch.ones(1, *policy.noise_shape))


def step(file: Path, name: str) -> Callable[[dict[str, Any]], None]:
    """Edit the saved step `name` of a pipeline file."""

    def change(entry: dict[str, Any]) -> None:
        edit(file, lambda saved: next(one for one in saved["steps"] if one["registry_name"] == name).update(entry))

    return change


def test_the_planted_code_is_live_and_lerobots_own_step_would_run_it(
    planted: Path, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lerobot.processor import ProcessorStepRegistry
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(AttributeError):  # the planted class is no processor; by then its module has run
        ProcessorStepRegistry.get("action_tokenizer_processor")(action_tokenizer_name=str(planted))
    assert canary.exists()
    canary.unlink()


@pytest.mark.parametrize("file", [PREPROCESSOR, POSTPROCESSOR])
@pytest.mark.parametrize(
    "entry",
    [
        {"registry_name": "action_tokenizer_processor", "config": {"action_tokenizer_name": "{planted}"}},
        {
            "registry_name": "action_tokenizer_processor",
            "config": {"action_tokenizer_name": "{planted}", "trust_remote_code": True},
        },
        {"registry_name": "reward_classifier_processor", "config": {"pretrained_path": "{planted}"}},
        {"registry_name": "groot_n1_7_vlm_encode_v1", "config": {"model_name": "{planted}"}},
        {"registry_name": "planted.Step"},
        {"registry_name": None, "class": "planted.Step"},
        {"registry_name": ["device_processor"], "class": "planted.Step"},
        {"class": "planted.Step"},
        {"class": "os.system", "config": {"command": "touch canary"}},
        {"registry_name": "to_batch_processor", "class": "planted.Step", "config": {}},
        {"registry_name": "normalizer_processor", "config": {"stats": {}}},
        {"registry_name": "device_processor", "config": {"device": "cpu", "hook": "planted.Step"}},
        {"registry_name": "identity_processor"},
    ],
)
def test_a_step_that_the_policy_type_does_not_need_is_refused(
    entry: dict[str, Any], file: str, copy: Path, planted: Path
) -> None:
    entry = json.loads(json.dumps(entry).replace("{planted}", str(planted)))
    edit(copy / file, lambda saved: saved["steps"].append(entry))
    assert file in refusal(copy)


@pytest.mark.parametrize("argument", [{"trust_remote_code": True}, {"tokenizer": {"a": 1}}, {"input_tokenizer": 1}])
def test_an_argument_that_a_step_does_not_need_is_refused(argument: dict[str, Any], copy: Path, canary: Path) -> None:
    def add(saved: Any) -> None:
        next(one for one in saved["steps"] if "tokenizer" in one["registry_name"])["config"].update(argument)

    edit(copy / PREPROCESSOR, add)
    assert f"unknown key '{next(iter(argument))}'" in refusal(copy)


@pytest.mark.parametrize("part", ["config", "config.text_config", "tokenizer_config"])
def test_an_auto_map_in_the_backbone_is_refused(part: str, copy: Path, planted: Path) -> None:
    name, _, inner = part.partition(".")
    auto_map = json.loads((planted / "config.json").read_text())["auto_map"]
    shutil.copy(planted / "planted.py", copy / "vlm")
    edit(
        copy / "vlm" / f"{name}.json",
        lambda saved: (saved[inner] if inner else saved).update(auto_map=auto_map, model_type="planted"),
    )
    assert "has an auto_map" in refusal(copy)


def test_an_auto_map_in_the_policy_is_refused(copy: Path, planted: Path) -> None:
    edit(copy / "config.json", lambda saved: saved.update(auto_map={"AutoConfig": "planted.Step"}))
    assert "unknown key 'auto_map'" in refusal(copy)


def test_what_a_smolvla_does_not_need_of_its_backbone_is_never_opened(
    checkpoint: Path, copy: Path, planted: Path
) -> None:
    vlm = copy / "vlm"
    for name in ("processor_config.json", "preprocessor_config.json", "planted.py"):
        shutil.copy(planted / name.replace("preprocessor", "processor"), vlm / name)
    (vlm / "chat_template.jinja").write_text("{{ cycler.__init__.__globals__.os.system('touch canary') }}")
    (vlm / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    (vlm / "additional_chat_templates").mkdir()
    for key in ("_attn_implementation", "attn_implementation", "experts_implementation", "quantization_config"):
        edit(vlm / "config.json", lambda saved, key=key: saved.update({key: "planted/kernel"}))
        edit(vlm / "config.json", lambda saved, key=key: saved["text_config"].update({key: "planted/kernel"}))
    others = {"chat_template": "{{ planted }}", "vocab_file": "/etc/hosts", "init_inputs": ["planted"]}
    edit(vlm / "tokenizer_config.json", lambda saved: saved.update(others))
    assert torch.equal(chunk_of(copy), chunk_of(checkpoint))


@pytest.mark.parametrize("name", ["../elsewhere", "vlm/../../elsewhere", "{planted}", "/etc", "a/..", "..", "vlm/.."])
@pytest.mark.parametrize("place", ["backbone", "tokenizer"])
def test_a_name_that_leads_out_of_the_checkpoint_is_refused(place: str, name: str, copy: Path, planted: Path) -> None:
    name = name.replace("{planted}", str(planted))
    shutil.copytree(copy / "vlm", planted, dirs_exist_ok=True)
    if place == "backbone":
        edit(copy / "config.json", lambda saved: saved.update(vlm_model_name=name))
    else:
        edit(copy / PREPROCESSOR, lambda saved: saved["steps"][3]["config"].update(tokenizer_name=name))
    assert "which leads out of the checkpoint's folder" in refusal(copy)


def test_a_folder_of_the_working_directory_is_no_backbone(copy: Path, planted: Path) -> None:
    shutil.copytree(copy / "vlm", "elsewhere/vlm")
    edit(copy / "config.json", lambda saved: saved.update(vlm_model_name="elsewhere"))
    assert "names the backbone 'elsewhere', which is no folder in it" in refusal(copy)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "{outside}/secret.safetensors", "secret.pt", "a/b.safetensors", 3, None]
)
@pytest.mark.parametrize("file", [PREPROCESSOR, POSTPROCESSOR])
def test_statistics_outside_the_checkpoint_are_refused(
    name: Any, file: str, copy: Path, canary: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.safetensors").touch()
    change = step(copy / file, "normalizer_processor" if file == PREPROCESSOR else "unnormalizer_processor")
    change({"state_file": name.replace("{outside}", str(tmp_path)) if isinstance(name, str) else name})
    assert "must be the name of a .safetensors file beside it" in refusal(copy)


@pytest.mark.parametrize(
    "name",
    [
        "vlm",
        "config.json",
        "model.safetensors",
        PREPROCESSOR,
        POSTPROCESSOR,
        "policy_preprocessor_step_5_normalizer_processor.safetensors",
        "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
        "vlm/config.json",
        "vlm/tokenizer.json",
        "vlm/tokenizer_config.json",
    ],
)
def test_a_link_out_of_the_checkpoint_is_refused(name: str, copy: Path, canary: Path, tmp_path: Path) -> None:
    shutil.move(copy / name, tmp_path / "outside")
    (copy / name).symlink_to(tmp_path / "outside")
    assert "which leads out of the checkpoint's folder" in refusal(copy)


def test_a_link_within_the_checkpoint_is_followed(checkpoint: Path, copy: Path) -> None:
    (copy / "vlm").rename(copy / "smolvlm")
    (copy / "vlm").symlink_to("smolvlm")
    assert torch.equal(chunk_of(copy), chunk_of(checkpoint))


def as_hub_snapshot(folder: Path, repository: Path) -> Path:
    """A checkpoint as the hub's client stores it: links into the repository's `blobs`."""
    snapshot, blobs = repository / "snapshots" / "0123abc", repository / "blobs"
    blobs.mkdir(parents=True)
    for i, file in enumerate(sorted(one for one in folder.rglob("*") if one.is_file())):
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / str(i))
        link.symlink_to(os.path.relpath(blobs / str(i), link.parent))
    return snapshot


def test_a_snapshot_of_the_hub_links_to_its_blobs_and_to_nothing_else(
    checkpoint: Path, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = as_hub_snapshot(checkpoint, tmp_path / "models--somebody--policy")
    monkeypatch.setattr(_find, "snapshot_download", lambda name, **_: str(snapshot))
    assert torch.equal(chunk_of("somebody/policy"), chunk_of(checkpoint))
    assert torch.equal(chunk_of(snapshot), chunk_of(checkpoint))
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(checkpoint / "config.json")
    assert "which leads out of the checkpoint's folder" in refusal(snapshot)


def test_a_backbone_of_the_hub_is_checked_like_one_in_the_checkpoint(
    checkpoint: Path, copy: Path, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = as_hub_snapshot(copy / "vlm", tmp_path / "models--somebody--vlm")
    shutil.rmtree(copy / "vlm")
    edit(copy / "config.json", lambda saved: saved.update(vlm_model_name="somebody/vlm"))
    edit(copy / PREPROCESSOR, lambda saved: saved["steps"][3]["config"].update(tokenizer_name="somebody/vlm"))
    monkeypatch.setattr(_find, "snapshot_download", lambda name, **_: str(snapshot))
    assert torch.equal(chunk_of(copy), chunk_of(checkpoint))
    monkeypatch.setattr(_find, "snapshot_download", lambda name, **_: str(planted))
    assert "has an auto_map" in refusal(copy)


@pytest.mark.parametrize("pickled", [pickle.dump, torch.save])
def test_a_pickle_is_never_loaded(pickled: Any, checkpoint: Path, copy: Path, canary: Path) -> None:
    for name in ("pytorch_model.bin", "model.pt", "optimizer.pt", "vlm/pytorch_model.bin", "vlm/tokenizer.pkl"):
        with (copy / name).open("wb") as stream:
            pickled(Payload(canary), stream)
    assert torch.equal(chunk_of(copy), chunk_of(checkpoint))
    (copy / "model.safetensors").unlink()
    assert "lacks model.safetensors" in refusal(copy)
    shutil.copy(copy / "pytorch_model.bin", copy / "model.safetensors")
    assert "model.safetensors" in refusal(copy)


@pytest.mark.parametrize("pickled", [pickle.dump, torch.save])
def test_a_pickle_in_place_of_an_mlps_weights_is_refused(pickled: Any, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "flow_mlp")
    with (folder / "model.safetensors").open("wb") as stream:
        pickled(Payload(canary), stream)
    refusal(folder, lambda path: load_mlp("flow_mlp", Path(path), None))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_out_of_an_mlps_checkpoint_is_refused(name: str, canary: Path, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mlp", "flow_mlp")
    shutil.move(folder / name, tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    sentence = refusal(folder, lambda path: load_mlp("flow_mlp", Path(path), None))
    assert "which leads out of the checkpoint's folder" in sentence
