"""The SmolVLA policy returns lerobot's own chunks for every configuration and refuses silent mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import OBS_STATE
from policy.checkpoints import edit_json, load, observe
from toys.tiny_smolvla import IMAGE_SIZE, WORDS, make_tiny_checkpoint, random_stats, save_random_policy, tiny_config
from transformers import AutoConfig, SmolVLMForConditionalGeneration

from dsrl.interfaces import Encoding, Observation
from dsrl.policy._tiny_vlm import write_tiny_vlm
from dsrl.policy.smolvla import SmolVLA
from scripts.benchmark.real_size import SMOLVLM2_500M

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "self_attention_only": {"attention_mode": "self_attn"},
    "cross_attention_everywhere": {"self_attn_every_n_layers": -1},
    "cross_attention_in_two_of_three": {"self_attn_every_n_layers": 3},
    "image_special_tokens": {"add_image_special_tokens": True},
    "two_cameras": {"cameras": ("front", "wrist")},
    "one_empty_camera": {"empty_cameras": 1},
    "padded_prefix": {"prefix_length": 40},
    "prompts_padded_to_the_end": {"pad_language_to": "max_length"},
    "prompts_cut_short": {"tokenizer_max_length": 4},
    "fewer_expert_layers": {"num_expert_layers": 2, "self_attn_every_n_layers": -1},
    "fewer_vlm_layers": {"num_vlm_layers": 2},
    "narrow_expert": {"expert_width_multiplier": 0.75, "head_dim": 32},
    "images_made_smaller": {"resize_imgs_with_padding": (IMAGE_SIZE // 2, IMAGE_SIZE // 2)},
    "images_made_larger": {"resize_imgs_with_padding": (2 * IMAGE_SIZE, 2 * IMAGE_SIZE)},
    "aloha": {"adapt_to_pi_aloha": True, "state_dim": 14, "action_dim": 14},
    "nothing_padded": {"max_state_dim": 5, "max_action_dim": 4},
    "ten_steps": {"num_steps": 10},
    "few_executed_steps": {"n_action_steps": 2},
    "no_normalisation": {"normalization_mapping": {"STATE": "IDENTITY", "ACTION": "IDENTITY", "VISUAL": "IDENTITY"}},
}


def lerobots_chunk(policy: SmolVLA, observation: Observation, noise: torch.Tensor) -> torch.Tensor:
    """Compute lerobot's own chunk of an observation; only the names of the cameras are ours."""
    batch: dict[str, Any] = {OBS_STATE: observation.state.clone(), "task": list(observation.instruction)}
    batch |= {key: observation.images[camera].float() / 255 for camera, key in policy.embodiment.cameras.items()}
    chunk = policy._policy.predict_action_chunk(policy._preprocess(batch), noise=noise)
    return policy._postprocess(chunk)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoding_gives_lerobots_own_chunk(name: str, tmp_path: Path) -> None:
    policy = load(make_tiny_checkpoint(tmp_path / name, **CONFIGS[name]))
    observation = observe(policy)
    noise = torch.randn(3, *policy.noise_shape, generator=torch.Generator().manual_seed(1))
    encoding = policy.encode(observation)
    expected = lerobots_chunk(policy, observation, noise)
    assert expected.shape == (3, *policy.chunk_shape)
    for _ in range(2):  # the second time shows that denoising left the context alone
        torch.testing.assert_close(policy.decode(encoding, noise), expected, rtol=0, atol=1e-6)


def test_queries_that_share_a_key_give_lerobots_own_chunk(copy: Path) -> None:
    vlm = json.loads((copy / "vlm" / "config.json").read_text())
    edit_json(copy / "vlm" / "config.json", text_config={**vlm["text_config"], "num_key_value_heads": 1})
    save_random_policy(copy, tiny_config(("front",), 5, 4, 6), random_stats(5, 4))
    policy = load(copy)
    assert (policy._expert.heads, policy._expert.groups) == (2, 1)
    observation, noise = observe(policy), torch.randn(3, *policy.noise_shape)
    chunk = policy.decode(policy.encode(observation), noise)
    torch.testing.assert_close(chunk, lerobots_chunk(policy, observation, noise), rtol=0, atol=1e-6)


def test_images_of_another_size_are_resized_as_lerobot_does(checkpoint: Path) -> None:
    policy = load(checkpoint)
    observation = observe(policy, size=(48, 80))
    noise = torch.randn(3, *policy.noise_shape)
    chunk = policy.decode(policy.encode(observation), noise)
    torch.testing.assert_close(chunk, lerobots_chunk(policy, observation, noise), rtol=0, atol=1e-5)


def test_a_checkpoint_saved_without_cache_gives_the_chunk_of_the_cached_one(checkpoint: Path, copy: Path) -> None:
    edit_json(copy / "config.json", use_cache=False)
    cached, uncached = load(checkpoint), load(copy)
    noise = torch.randn(3, *cached.noise_shape)
    chunks = [policy.decode(policy.encode(observe(policy)), noise) for policy in (cached, uncached)]
    assert torch.equal(*chunks)


def test_worlds_with_instructions_of_any_length_share_one_batch(checkpoint: Path) -> None:
    policy = load(checkpoint)
    observation, noise = observe(policy), torch.randn(3, *policy.noise_shape)
    together = policy.encode(observation)
    apart = [policy.encode(observation[torch.tensor([row])]) for row in range(3)]
    context = {key: torch.cat([one.context[key] for one in apart]) for key in together.context}
    mixed = Encoding(torch.cat([one.features for one in apart]), context)
    torch.testing.assert_close(mixed.features, together.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(policy.decode(mixed, noise), policy.decode(together, noise), rtol=0, atol=1e-5)


def test_features_are_normalised_state_and_pooled_and_state_outputs_whatever_the_padding(
    checkpoint: Path, tmp_path: Path
) -> None:
    plain = load(checkpoint)
    padded = load(make_tiny_checkpoint(tmp_path / "padded", prefix_length=60, pad_language_to="max_length"))
    features = plain.encode(observe(plain)).features
    stats = random_stats(5, 4)[OBS_STATE]
    assert features.shape == (3, plain.feature_dim) == (3, 5 + 2 * 32)
    torch.testing.assert_close(features[:, :5], (observe(plain).state - stats["mean"]) / stats["std"])
    torch.testing.assert_close(padded.encode(observe(padded)).features, features, rtol=1e-4, atol=1e-5)


def real_config(num_layers: int) -> SmolVLAConfig:
    """SmolVLA's real dimensions, with some of its 16 layers."""
    sizes: dict[str, Any] = {"resize_imgs_with_padding": (512, 512), "expert_width_multiplier": 0.75, "num_steps": 1}
    return tiny_config(("camera1",), 6, 6, 50, max_state_dim=32, max_action_dim=32, num_vlm_layers=num_layers, **sizes)


def test_the_real_dimensions_are_those_of_450_million_weights(tmp_path: Path) -> None:
    write_tiny_vlm(tmp_path, vocabulary=WORDS, **SMOLVLM2_500M)
    config = real_config(16)
    config.vlm_model_name, config.device = str(tmp_path), "meta"
    with torch.device("meta"):
        policy = SmolVLAPolicy(config)
    assert 430e6 < sum(weight.numel() for weight in policy.parameters()) < 470e6  # "450 M parameters"


def test_a_policy_of_the_real_dimensions_loads_encodes_and_decodes(tmp_path: Path) -> None:
    """Of the equal layers it has two of the real 16, and two of 12 for pictures."""
    write_tiny_vlm(tmp_path / "vlm", vocabulary=WORDS, **{**SMOLVLM2_500M, "num_layers": 2, "vision_layers": 2})
    save_random_policy(tmp_path, real_config(2), random_stats(6, 6))
    policy = load(tmp_path)
    assert (policy.noise_shape, policy.chunk_shape, policy.feature_dim) == ((50, 32), (50, 6), 6 + 2 * 960)
    image = torch.randint(256, (1, 3, 256, 256), dtype=torch.uint8)
    observation = Observation(torch.zeros(1, 6), {"camera1": image}, ("pick up the red cube",))
    noise = torch.randn(1, 50, 32)
    encoding = policy.encode(observation)
    assert encoding.context["prefix_keys"].shape == (1, 2, 5, 64 + 12 + 1, 64)  # 64 image, 12 language, 1 state token
    expected = lerobots_chunk(policy, observation, noise)
    torch.testing.assert_close(policy.decode(encoding, noise), expected, rtol=0, atol=1e-5)


def test_the_policy_is_frozen_and_its_hash_depends_on_every_weight(checkpoint: Path) -> None:
    policy, twin = load(checkpoint), load(checkpoint)
    assert not any(weight.requires_grad for weight in policy._policy.parameters())
    assert not policy._policy.training
    before = policy.policy_sha256()
    policy.decode(policy.encode(observe(policy)), torch.randn(3, *policy.noise_shape))
    assert policy.policy_sha256() == before == twin.policy_sha256()
    next(iter(twin._policy.parameters())).view(-1)[0] += 1e-6
    assert twin.policy_sha256() != before


def test_loading_leaves_the_global_random_state_alone(checkpoint: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load(checkpoint)
    assert torch.equal(torch.rand(4), expected)


def test_loading_prints_nothing(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(checkpoint)
    assert capsys.readouterr().out == ""


def test_num_steps_overrides_the_checkpoints(checkpoint: Path) -> None:
    policy, quick = load(checkpoint), load(checkpoint, num_steps=1)
    noise = torch.randn(3, *policy.noise_shape)
    chunks = [p.decode(p.encode(observe(p)), noise) for p in (policy, quick)]
    assert not torch.allclose(*chunks)
    with pytest.raises(ValueError, match=r"policy\.num_steps=0 but denoising takes at least one"):
        load(checkpoint, num_steps=0)


def test_bfloat16_stays_near_float32(checkpoint: Path) -> None:
    policy, rough = load(checkpoint), load(checkpoint, dtype="bfloat16")
    noise = torch.randn(3, *policy.noise_shape)
    chunks = [p.decode(p.encode(observe(p)), noise) for p in (policy, rough)]
    torch.testing.assert_close(*chunks, rtol=0, atol=5e-2)
    with pytest.raises(ValueError, match=r"policy\.dtype=int8 is not supported; type one of"):
        load(checkpoint, dtype="int8")


@pytest.mark.parametrize("half", ["text model", "whole backbone"])
def test_weights_keep_the_types_that_lerobot_gives_them(half: str, checkpoint: Path, copy: Path) -> None:
    vlm = json.loads((copy / "vlm" / "config.json").read_text())
    edit_json(copy / "vlm" / "config.json", text_config={**vlm["text_config"], "dtype": "bfloat16"})
    config = tiny_config(("front",), 5, 4, 6, load_vlm_weights=half == "whole backbone")
    if config.load_vlm_weights:
        whole = SmolVLMForConditionalGeneration(AutoConfig.from_pretrained(copy / "vlm"))
        whole.save_pretrained(copy / "vlm")
    save_random_policy(copy, config, random_stats(5, 4))
    policy = load(copy)
    config.vlm_model_name = str(copy / "vlm")
    lerobots = SmolVLAPolicy.from_pretrained(copy, config=config)
    types = {name: weight.dtype for name, weight in policy._policy.named_parameters()}
    assert types == {name: weight.dtype for name, weight in lerobots.named_parameters()}
    assert len(set(types.values())) == 2
    noise, observation = torch.randn(3, *policy.noise_shape), observe(policy)
    chunk = policy.decode(policy.encode(observation), noise)
    policy._policy = lerobots
    # bfloat16 has 8 bits: lerobot rounds the same products in another order
    torch.testing.assert_close(chunk, lerobots_chunk(policy, observation, noise), rtol=0, atol=2e-2)
    assert {weight.dtype for weight in load(copy, dtype="float32")._policy.parameters()} == {torch.float32}


def test_cameras_are_named_by_their_key_and_renamed_only_by_camera_map(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "two", cameras=("front", "wrist"))
    front, wrist = "observation.images.front", "observation.images.wrist"
    assert load(folder).embodiment.cameras == {"front": front, "wrist": wrist}
    assert load(folder, camera_map={"top": "front"}).embodiment.cameras == {"top": front, "wrist": wrist}
    assert load(folder, camera_map={"wrist": front, "front": wrist}).embodiment.cameras == {
        "wrist": front,
        "front": wrist,
    }
    with pytest.raises(ValueError, match=r"camera_map names 'side' but the cameras of .* are \['observation"):
        load(folder, camera_map={"top": "side"})
    with pytest.raises(ValueError, match=r"camera_map gives observation\.images\.front two task cameras"):
        load(folder, camera_map={"top": "front", "side": "front"})
    with pytest.raises(ValueError, match=rf"'wrist' to another camera of .*, so that {wrist} has no view; ") as caught:
        load(folder, camera_map={"wrist": "front"})
    assert str(caught.value).endswith(f"as in 'policy.camera_map={{wrist: front, front: {wrist}}}'")


def test_cameras_that_the_preprocessor_renames_keep_their_first_name(copy: Path) -> None:
    file = copy / "policy_preprocessor.json"
    saved = json.loads(file.read_text())
    saved["steps"][0]["config"]["rename_map"] = {"observation.images.top": "observation.images.front"}
    file.write_text(json.dumps(saved))
    policy = load(copy)
    assert policy.embodiment.cameras == {"top": "observation.images.top"}
    noise, observation = torch.randn(3, *policy.noise_shape), observe(policy)
    chunk = policy.decode(policy.encode(observation), noise)
    torch.testing.assert_close(chunk, lerobots_chunk(policy, observation, noise), rtol=0, atol=1e-5)
