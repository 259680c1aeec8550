"""A checkpoint whose files are damaged, nonsensical or huge ends in one sentence, soon and in little memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from policy.checkpoints import edit, refusal
from policy.damage import DAMAGED_JSON, HUGE, STORED

from dsrl.policy._policy_types import POLICY_TYPES

pytestmark = pytest.mark.usefixtures("little_memory")
PREPROCESSOR = "policy_preprocessor.json"
NORMALISER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
JSON_FILES = ("config.json", PREPROCESSOR, "vlm/config.json", "vlm/tokenizer_config.json", "vlm/tokenizer.json")
CONFIG: dict[str, dict[str, Any]] = {
    "unknown_key": {"colour": "red"},
    "no_type": {"type": None},
    "a_list_as_type": {"type": ["smolvla"]},
    "a_string_as_count": {"chunk_size": "6"},
    "true_as_count": {"chunk_size": True},
    "a_fraction_as_count": {"chunk_size": 1.5},
    "zero": {"chunk_size": 0},
    "negative": {"num_steps": -1},
    "huge_chunk": {"chunk_size": HUGE},
    "huge_num_steps": {"num_steps": HUGE},
    "huge_action": {"max_action_dim": HUGE},
    "large_action": {"max_action_dim": 4096},
    "huge_state": {"max_state_dim": HUGE},
    "huge_prompt": {"tokenizer_max_length": HUGE},
    "huge_prefix": {"prefix_length": HUGE},
    "huge_images": {"resize_imgs_with_padding": [HUGE, HUGE]},
    "many_patches": {"resize_imgs_with_padding": [2048, 2048]},
    "no_images": {"resize_imgs_with_padding": None},
    "huge_width": {"expert_width_multiplier": 1e9},
    "other_width": {"expert_width_multiplier": 8.0},
    "huge_layers": {"num_vlm_layers": HUGE},
    "other_layers": {"num_expert_layers": 3},
    "huge_empty_cameras": {"empty_cameras": HUGE},
    "a_number_as_backbone": {"vlm_model_name": 3},
    "an_empty_backbone": {"vlm_model_name": ""},
    "a_zero_in_the_backbone": {"vlm_model_name": "vlm\0"},
    "a_long_backbone": {"vlm_model_name": "v" * 400},
    "a_deep_backbone": {"vlm_model_name": "v/" * 200},
    "other_attention": {"attention_mode": "planted"},
    "features_as_list": {"input_features": []},
    "features_missing": {"input_features": {}},
    "no_action": {"output_features": {}},
    "huge_feature": {"output_features": {"action": {"type": "ACTION", "shape": [HUGE]}}},
    "wide_action": {"output_features": {"action": {"type": "ACTION", "shape": [7]}}},
    "flat_action": {"output_features": {"action": {"type": "ACTION", "shape": []}}},
    "square_action": {"output_features": {"action": {"type": "ACTION", "shape": [2, 2]}}},
    "other_feature": {"output_features": {"action": {"type": "planted", "shape": [4]}}},
    "many_features": {"input_features": {str(i): {"type": "VISUAL", "shape": [3, 9, 9]} for i in range(99)}},
    "other_mode": {"normalization_mapping": {"STATE": "planted"}},
    "other_rtc": {"rtc_config": {"planted": 1}},
    "not_ported": {"use_delta_joint_actions_aloha": True},
    "more_steps_than_chunk": {"n_action_steps": 7},
    "aloha_of_four": {"adapt_to_pi_aloha": True},
}
VLM: dict[str, dict[str, Any]] = {
    "other_model": {"model_type": "llava"},
    "no_model": {"model_type": None},
    "no_text": {"text_config": None},
    "a_list_as_text": {"text_config": []},
    "huge_scale": {"scale_factor": HUGE},
    "other_scale": {"scale_factor": 3},
    "text.other_model": {"model_type": "mamba"},
    "text.huge_width": {"hidden_size": HUGE},
    "text.lying_width": {"hidden_size": 16384},
    "text.huge_layers": {"num_hidden_layers": HUGE},
    "text.lying_layers": {"num_hidden_layers": 128},
    "text.huge_vocabulary": {"vocab_size": HUGE},
    "text.lying_vocabulary": {"vocab_size": 10**6},
    "text.no_heads": {"num_attention_heads": 0},
    "text.odd_heads": {"num_attention_heads": 7},
    "text.odd_values": {"num_key_value_heads": 3},
    "text.odd_head": {"head_dim": 5},
    "text.other_activation": {"hidden_act": "planted"},
    "text.rope": {"rope_parameters": {"rope_type": "yarn", "factor": 1e9}},
    "text.string": {"rms_norm_eps": "0"},
    "vision.no_patch": {"patch_size": 0},
    "vision.one_pixel": {"patch_size": 1},
    "vision.huge_image": {"image_size": HUGE},
    "vision.lying_image": {"image_size": 2048},
    "vision.channels": {"num_channels": 1},
    "vision.huge_layers": {"num_hidden_layers": HUGE},
}


@pytest.mark.parametrize("file", JSON_FILES)
@pytest.mark.parametrize("damage", DAMAGED_JSON)
def test_a_damaged_json_file_is_refused(damage: str, file: str, copy: Path, canary: Path) -> None:
    (copy / file).write_bytes(DAMAGED_JSON[damage])
    assert Path(file).name in refusal(copy) or damage in ("byte_order_mark", "twice")


@pytest.mark.parametrize("change", CONFIG)
def test_a_value_that_no_smolvla_has_is_refused(change: str, copy: Path, canary: Path) -> None:
    edit(copy / "config.json", lambda saved: saved.update(CONFIG[change]))
    refusal(copy)


def test_attention_that_needs_gibibytes_is_refused(copy: Path, canary: Path) -> None:
    edit(copy / "config.json", lambda saved: saved.update(resize_imgs_with_padding=[512, 512]))
    edit(copy / "vlm/config.json", lambda saved: saved["vision_config"].update(num_attention_heads=32))
    assert "attends over 4096 patches of an image with 32 heads" in refusal(copy)


@pytest.mark.parametrize("change", VLM)
def test_a_value_that_no_smolvlm_has_is_refused(change: str, copy: Path, canary: Path) -> None:
    part = f"{change.split('.')[0]}_config" if "." in change else None
    edit(copy / "vlm/config.json", lambda saved: (saved[part] if part else saved).update(VLM[change]))
    refusal(copy)


def blow_up(saved: Any) -> None:
    bomb = {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 100}
    saved["normalizer"] = {"type": "Sequence", "normalizers": [bomb] * 10}


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def pad_at_length(saved: Any) -> None:
    token = {"id": "<pad>", "ids": [0] * 20000, "tokens": ["<pad>"] * 20000}
    single = [{"SpecialToken": {"id": "<pad>", "type_id": 0}}]
    saved["post_processor"].update(single=single, special_tokens={"<pad>": token})


TOKENIZER: dict[str, Callable[[Any], Any]] = {
    "bomb": blow_up,
    "bytes_of_bytes": lambda saved: saved.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTES] * 4}),
    "long_token_of_template": pad_at_length,
    "long_template": lambda saved: saved["post_processor"].update(single=saved["post_processor"]["single"] * 2000),
    "templates": lambda saved: saved.update(
        post_processor={"type": "Sequence", "processors": [saved["post_processor"]] * 3}
    ),
    "padding": lambda saved: saved.update(padding={"strategy": {"Fixed": 10**12}}),
    "many_words": lambda saved: saved["model"]["vocab"].update({str(i): 1000 + i for i in range(1000)}),
    "no_model": lambda saved: saved.pop("model") and None,
    "other_model": lambda saved: saved.update(model={"type": "planted"}),
    "no_words": lambda saved: saved["model"].update(vocab={}),
    "negative_word": lambda saved: saved["model"]["vocab"].update(pick=-1),
    "a_list_of_words": lambda saved: saved["model"].update(vocab=[1, 2]),
    "version": lambda saved: saved.update(version="9.9"),
    "regex": lambda saved: saved.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}}),
    "template": lambda saved: saved["post_processor"].update(single=[{"SpecialToken": {"id": "?", "type_id": 0}}]),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "other_class": {"tokenizer_class": "planted.Step"},
    "slow_class": {"tokenizer_class": "BertJapaneseTokenizer"},
    "no_image_token": {"fake_image_token": None, "extra_special_tokens": []},
    "a_mapping_as_token": {"unk_token": {"planted": 1}},
    "other_processor": {"processor_class": "planted.Step"},
    "many_tokens": {"extra_special_tokens": ["a"] * 2000},
    "long_token": {"pad_token": "a" * 1000},
    "other_backend": {"backend": "planted"},
}


@pytest.mark.parametrize("change", TOKENIZER)
def test_a_tokenizer_that_no_smolvla_has_is_refused(change: str, copy: Path, canary: Path) -> None:
    edit(copy / "vlm/tokenizer.json", TOKENIZER[change])
    refusal(copy)


@pytest.mark.parametrize("change", SETTINGS)
def test_tokenizer_settings_that_no_smolvla_has_are_refused(change: str, copy: Path, canary: Path) -> None:
    edit(copy / "vlm/tokenizer_config.json", lambda saved: saved.update(SETTINGS[change]))
    refusal(copy)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_backbone_that_lacks_a_file_is_refused(file: str, copy: Path, canary: Path) -> None:
    (copy / "vlm" / file).unlink()
    refusal(copy)


PIPELINE: dict[str, Callable[[Any], Any]] = {
    "no_steps": lambda saved: saved.pop("steps") and None,
    "steps_as_mapping": lambda saved: saved.update(steps={}),
    "a_string_as_step": lambda saved: saved["steps"].append("device_processor"),
    "no_config": lambda saved: saved["steps"][5].update(config=None),
    "no_features": lambda saved: saved["steps"][5]["config"].pop("features") and None,
    "empty_features": lambda saved: saved["steps"][5]["config"].update(features={}),
    "other_features": lambda saved: saved["steps"][5]["config"]["features"]["observation.state"].update(shape=[3]),
    "other_mode": lambda saved: saved["steps"][5]["config"].update(norm_map={"STATE": "planted"}),
    "nil": lambda saved: saved["steps"][5]["config"].update(eps=-1),
    "twice": lambda saved: saved["steps"].append(saved["steps"][5]),
    "no_statistics": lambda saved: saved["steps"][5].pop("state_file") and None,
    "lost_statistics": lambda saved: saved["steps"][5].update(state_file="lost.safetensors"),
    "weights_as_statistics": lambda saved: saved["steps"][5].update(state_file="model.safetensors"),
    "huge_prompt": lambda saved: saved["steps"][3]["config"].update(max_length=HUGE),
    "other_key": lambda saved: saved["steps"][3]["config"].update(task_key="planted"),
    "other_device": lambda saved: saved["steps"][4]["config"].update(device="planted"),
    "renamed_away": lambda saved: saved["steps"][0]["config"].update(rename_map={"observation.state": "lost"}),
    "renamed_to_a_number": lambda saved: saved["steps"][0]["config"].update(rename_map={"observation.state": 3}),
    "many_steps": lambda saved: saved.update(steps=saved["steps"] * 100),
    "unknown_key": lambda saved: saved.update(hooks=["planted.Step"]),
}


@pytest.mark.parametrize("change", PIPELINE)
def test_a_pipeline_that_no_smolvla_has_is_refused(change: str, copy: Path, canary: Path) -> None:
    edit(copy / PREPROCESSOR, PIPELINE[change])
    refusal(copy)


@pytest.mark.parametrize("file", ["model.safetensors", NORMALISER])
@pytest.mark.parametrize("damage", STORED)
def test_damaged_weights_or_statistics_are_refused(damage: str, file: str, copy: Path, canary: Path) -> None:
    STORED[damage](copy / file)
    refusal(copy)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vlm/tokenizer.json", NORMALISER])
@pytest.mark.parametrize("kind", ["circle", "pipe", "nowhere"])
def test_an_entry_that_is_no_file_is_refused(kind: str, file: str, copy: Path, canary: Path) -> None:
    (copy / file).unlink()
    if kind == "pipe":
        os.mkfifo(copy / file)
    else:
        (copy / file).symlink_to(Path(file).name if kind == "circle" else "nowhere")
    refusal(copy)


def test_the_table_has_the_fields_that_lerobot_has() -> None:
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig

    check = POLICY_TYPES["smolvla"].config
    for field in fields(SmolVLAConfig):  # none is unknown: only the value is refused
        with pytest.raises(ValueError, match=f": {field.name}="):
            check("config.json", {"input_features": {}, "output_features": {}, field.name: ...})
