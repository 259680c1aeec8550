"""SmolVLA checkpoints, tasks and observations that lerobot would accept silently are refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lerobot.utils.constants import OBS_STATE
from policy.checkpoints import INSTRUCTIONS, edit, edit_json, load, observe, refusal
from safetensors.torch import load_file, save_file
from toys.tiny_smolvla import make_tiny_checkpoint, random_stats

from dsrl.interfaces import Observation
from dsrl.policy import _find


def task(**changes: Any) -> Any:
    return SimpleNamespace(**{"cameras": {"front": (3, 32, 32)}, "state_dim": 5, "action_dim": 4, **changes})


def test_a_task_that_does_not_fit_is_refused_with_what_to_type(checkpoint: Path) -> None:
    policy = load(checkpoint)
    policy.check_fits(task())
    policy.check_fits(task(cameras={"side": (3, 9, 9), "front": (3, 64, 64)}))
    with pytest.raises(ValueError, match=r"cameras \['front'\] but the task has \['top'\].*camera_map=\{top: front\}'"):
        policy.check_fits(task(cameras={"top": (3, 32, 32)}))
    with pytest.raises(ValueError, match=r"has a 5-dim state but the task has a 9-dim one; choose a checkpoint"):
        policy.check_fits(task(state_dim=9))
    with pytest.raises(ValueError, match=r"has a 4-dim action but the task has a 7-dim one; choose a checkpoint"):
        policy.check_fits(task(action_dim=7))
    everything = r"cameras .*top'\], and a 5-dim state .*, and a 4-dim action .*; where .*, and choose a checkpoint"
    with pytest.raises(ValueError, match=everything):
        policy.check_fits(task(cameras={"top": (3, 32, 32)}, state_dim=9, action_dim=7))
    with pytest.raises(ValueError, match=r"the task has \[\]; choose a task with at least as many cameras, 1"):
        policy.check_fits(task(cameras={}))


def test_observations_that_lerobot_would_accept_silently_are_refused(checkpoint: Path) -> None:
    policy = load(checkpoint)
    good = observe(policy)
    image = good.images["front"]
    for state, images, words in (
        (good.state[:, :4], good.images, r"state is \(3, 4\) but .* takes \[B, 5\]"),
        (good.state, {}, r"needs camera 'front' but the observation has \[\]"),
        (good.state, {"front": image.float()}, r"torch\.float32 .* images are uint8 \[B, 3, H, W\]"),
        (good.state, {"front": image.permute(0, 2, 3, 1)}, r"\(3, 32, 32, 3\) but images are uint8 \[B, 3, H, W\]"),
    ):
        with pytest.raises(ValueError, match=words):
            policy.encode(Observation(state, images, INSTRUCTIONS))
    with pytest.raises(ValueError, match=r"noise has shape \(2, 6, 6\) but this encoding and policy take \(3, 6, 6\)"):
        policy.decode(policy.encode(good), torch.randn(2, *policy.noise_shape))


@pytest.mark.parametrize("name", ["no such/folder/here", "nothing_bundled"])
def test_a_path_without_a_checkpoint_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a folder, not a bundled policy and not a hub id; type one of"):
        load(name)


def test_a_hub_id_that_cannot_be_downloaded_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(_find, "snapshot_download", no_network)
    with pytest.raises(FileNotFoundError, match=r"nobody/nothing is not a folder here .*\(no route to host\); type"):
        load("nobody/nothing")


def test_a_hub_id_is_read_from_a_snapshot(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_find, "snapshot_download", lambda name, **_: str(checkpoint))
    assert load("somebody/policy").policy_sha256() == load(checkpoint).policy_sha256()


def test_a_local_folder_is_never_looked_up_on_the_hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(_find, "snapshot_download", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    load(checkpoint)


def test_an_incomplete_folder_is_refused(copy: Path) -> None:
    (copy / "policy_preprocessor.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks policy_preprocessor\.json; a lerobot checkpoint has config"):
        load(copy)


def test_another_policy_type_is_refused(copy: Path) -> None:
    edit_json(copy / "config.json", type="pi0")
    with pytest.raises(ValueError, match=r"of type 'pi0' but policy=smolvla loads 'smolvla' only"):
        load(copy)


def test_a_lost_backbone_is_refused(copy: Path) -> None:
    edit_json(copy / "config.json", vlm_model_name="/gone/vlm")
    with pytest.raises(ValueError, match=r"names '/gone/vlm', which leads out of the checkpoint's folder; copy"):
        load(copy)
    edit_json(copy / "config.json", vlm_model_name="gone")
    with pytest.raises(FileNotFoundError, match=r"names the backbone 'gone', which is no folder in it; copy"):
        load(copy)


@pytest.mark.parametrize("change", ["missing", "left over", "shape"])
def test_weights_that_do_not_match_are_refused(change: str, copy: Path) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    if change == "missing":
        del weights["model.state_proj.bias"]
    elif change == "left over":
        weights["model.extra"] = torch.zeros(1)
    else:
        weights["model.state_proj.bias"] = torch.zeros(1)
    save_file(weights, file)
    words = {"missing": "lacks 1 weights and has 0", "left over": "lacks 0 weights and has 1", "shape": "does not fit"}
    with pytest.raises(ValueError, match=words[change]):
        load(copy)


def test_an_unused_weight_may_be_missing(copy: Path) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    del weights["model.vlm_with_expert.vlm.lm_head.weight"]
    save_file(weights, file)
    assert load(copy).policy_sha256() == load(copy).policy_sha256()


def spoiled(feature: str, **changes: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    stats = random_stats(5, 4)
    return {**stats, feature: {**stats[feature], **changes}}


@pytest.mark.parametrize(
    ("stats", "words"),
    [
        ({"action": random_stats(5, 4)["action"]}, r"no mean and std of observation\.state, which MEAN_STD"),
        ({OBS_STATE: random_stats(5, 4)[OBS_STATE]}, r"no mean and std of action, which MEAN_STD"),
        (spoiled(OBS_STATE, std=torch.tensor([1.0, 1, 0, 1, 1])), r"no spread in observation\.state\[2\]"),
        (spoiled(OBS_STATE, mean=torch.full((5,), torch.nan)), r"observation\.state that are not 5 finite numbers"),
        (spoiled("action", std=torch.ones(3)), r"statistics of action that are not 4 finite numbers"),
    ],
)
def test_missing_or_invalid_statistics_are_refused(
    stats: dict[str, dict[str, torch.Tensor]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        load(make_tiny_checkpoint(tmp_path / "spoiled", stats=stats))


def test_a_pipeline_that_names_foreign_code_is_refused(copy: Path) -> None:
    file = copy / "policy_postprocessor.json"
    saved = json.loads(file.read_text())
    saved["steps"].append({"class": "subprocess.Popen", "config": {"args": "true"}})
    file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"has the step 'subprocess\.Popen' but smolvla needs none but"):
        load(copy)


def test_a_pipeline_without_its_normaliser_is_refused(copy: Path) -> None:
    file = copy / "policy_postprocessor.json"
    edit_json(file, steps=[step for step in json.loads(file.read_text())["steps"] if "unnorm" not in str(step)])
    with pytest.raises(ValueError, match=r"has no unnormalizer_processor step, only \['device_processor'\]"):
        load(copy)


def test_a_policy_that_ignores_its_noise_is_refused(copy: Path) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    for name in ("action_out_proj.weight", "action_out_proj.bias"):
        weights[f"model.{name}"].zero_()
    stats = copy / "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    saved = load_file(stats)
    saved["action.std"] = torch.zeros(4)
    save_file(saved, stats)
    with pytest.raises(ValueError, match=r"cannot be steered: .* choose a checkpoint whose actions depend"):
        load(copy)


def test_weights_that_are_not_finite_are_named(copy: Path) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    weights["model.action_out_proj.weight"][0, 0] = torch.nan
    save_file(weights, file)
    with pytest.raises(ValueError, match=r"has weights that are not finite \(model.action_out_proj.weight\); get"):
        load(copy)


@pytest.mark.parametrize(("device", "words"), [("gpu", "is no device; type auto"), ("cuda", "sees no CUDA device")])
def test_a_missing_device_is_refused(
    device: str, words: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=words):
        load(checkpoint, device=device)


def test_an_adapter_without_its_base_is_told_what_it_is(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "adapter_model.safetensors")
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    assert refusal(copy).endswith("copy is a PEFT adapter, not a whole policy; merge it into its base and save that")


def test_conversion_for_aloha_is_told_how_many_numbers_it_takes(copy: Path) -> None:
    edit_json(copy / "config.json", adapt_to_pi_aloha=True)
    assert "takes Aloha's 14 joints and grippers, but gives observation.state 5 numbers; set it to" in refusal(copy)


def test_states_that_the_saved_processor_casts_to_half_precision_are_taken(checkpoint: Path, copy: Path) -> None:
    edit(copy / "policy_preprocessor.json", lambda saved: saved["steps"][4]["config"].update(float_dtype="bfloat16"))
    chunks = [
        policy.decode(policy.encode(observe(policy)), torch.ones(3, *policy.noise_shape))
        for policy in (load(checkpoint), load(copy))
    ]
    torch.testing.assert_close(chunks[1], chunks[0], rtol=0, atol=0.1)
