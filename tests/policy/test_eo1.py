"""EO-1 draws its noise inside of its sampler: the same draw, given from outside, makes lerobot's own chunk."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.policies.eo1.modeling_eo1 import EO1Policy
from lerobot.utils.constants import OBS_STATE
from policy.checkpoints import edit, edit_json
from safetensors.torch import load_file, save_file
from toys.tiny_eo1 import SIDE, WIDTH, make_tiny_eo1

from dsrl.interfaces import Encoding, Observation
from dsrl.policy.eo1 import EO1
from dsrl.policy.lerobot import load_policy

INSTRUCTIONS = ("pick up the red cube", "the cube now", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_eo1(tmp_path_factory.mktemp("eo1") / "tiny")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def load(folder: Path, **arguments: Any) -> EO1:
    return load_policy(str(folder), **{"device": "cpu", "dtype": "checkpoint", **arguments})


def observe(policy: EO1, size: tuple[int, int] = (SIDE, SIDE)) -> Observation:
    generator = torch.Generator().manual_seed(0)
    images = {
        camera: torch.randint(256, (3, 3, *size), generator=generator, dtype=torch.uint8)
        for camera in policy.embodiment.cameras
    }
    return Observation(torch.randn(3, policy.embodiment.state_dim, generator=generator), images, INSTRUCTIONS)


def draw(policy: EO1) -> torch.Tensor:
    """Draw the noise that lerobot's sampler draws after `torch.manual_seed(7)`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return torch.normal(0.0, 1.0, (3, *policy.noise_shape))


def lerobots_chunk(policy: EO1, observation: Observation) -> torch.Tensor:
    batch: dict[str, Any] = {OBS_STATE: observation.state.clone(), "task": list(observation.instruction)}
    batch |= {key: observation.images[camera].float() / 255 for camera, key in policy.embodiment.cameras.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        chunk: torch.Tensor = policy._postprocess(policy._policy.predict_action_chunk(policy._preprocess(batch)))
        return chunk


@pytest.mark.parametrize(
    "changes",
    [{}, {"cameras": ("front", "wrist")}, {"num_denoise_steps": 10, "chunk": 3}, {"dtype": "bfloat16"}],
    ids=["default", "cameras", "steps", "bfloat16"],
)
def test_decoding_gives_the_chunk_that_lerobot_makes_of_the_same_draw(
    changes: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    policy = load(make_tiny_eo1(tmp_path / "eo1", **changes))
    observation = observe(policy)
    expected, encoding = lerobots_chunk(policy, observation), policy.encode(observation)
    assert not [entry for entry in caplog.records if "Kwargs passed to" in entry.message]  # in each encode
    assert expected.shape == (3, *policy.chunk_shape)
    tolerance = 5e-2 if "dtype" in changes else 1e-5  # sums of other lengths round otherwise in bfloat16
    for _ in range(2):  # the second time shows that denoising left the cache alone
        torch.testing.assert_close(policy.decode(encoding, draw(policy)), expected, rtol=0, atol=tolerance)


def test_images_of_another_size_are_resized_as_lerobot_does(folder: Path) -> None:
    policy = load(folder)
    observation = observe(policy, size=(60, 40))
    chunk = policy.decode(policy.encode(observation), draw(policy))
    torch.testing.assert_close(chunk, lerobots_chunk(policy, observation), rtol=0, atol=1e-5)


def test_the_weights_are_those_that_lerobot_loads(folder: Path) -> None:
    policy = load(folder)
    built = EO1Policy(policy._config)
    built.load_state_dict(policy._policy.state_dict(), strict=True)
    theirs = {name: tensor for name, tensor in built.named_buffers() if "inv_freq" in name}
    assert theirs
    for name, tensor in policy._policy.named_buffers():  # which no checkpoint stores
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)


def test_features_and_context_have_the_sizes_of_one_prefix_pass(folder: Path) -> None:
    policy = load(folder)
    encoding = policy.encode(observe(policy))
    assert encoding.features.shape == (3, policy.feature_dim) == (3, 5 + 2 * WIDTH)
    assert encoding.features.isfinite().all()
    assert encoding.context["keys"].shape[:3] == (3, 2, 1)


def test_worlds_with_instructions_of_any_length_share_one_batch(folder: Path) -> None:
    policy = load(folder)
    observation, noise = observe(policy), torch.randn(3, *policy.noise_shape)
    together = policy.encode(observation)
    apart = [policy.encode(observation[torch.tensor([row])]) for row in range(3)]
    context = {key: torch.cat([one.context[key] for one in apart]) for key in together.context}
    mixed = Encoding(torch.cat([one.features for one in apart]), context)
    torch.testing.assert_close(mixed.features, together.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(policy.decode(mixed, noise), policy.decode(together, noise), rtol=0, atol=1e-5)


def test_two_noises_in_one_batch_stay_in_their_rows(folder: Path) -> None:
    policy = load(folder)
    encoding = policy.encode(observe(policy))[torch.tensor([1, 1])]
    one, other = torch.randn(2, 1, *policy.noise_shape)
    both = policy.decode(encoding, torch.cat([one, other]))
    for row, noise in enumerate((one, other)):
        alone = policy.decode(encoding[torch.tensor([row])], noise)
        torch.testing.assert_close(both[row : row + 1], alone, rtol=0, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_an_instruction_that_is_too_long_is_refused(folder: Path) -> None:
    policy = load(folder)
    observation = observe(policy)
    long = Observation(observation.state, observation.images, ("the red cube " * 60, "", ""))
    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens but 128 are the most; shorten it"):
        policy.encode(long)


def test_the_folders_own_chat_template_is_never_opened(copy: Path) -> None:
    (copy / "vlm" / "chat_template.jinja").write_text("{% for i in range(10 ** 9) %}{% endfor %}")
    edit(copy / "vlm" / "processor_config.json", lambda saved: {**saved, "chat_template": "{{ nothing.at.all }}"})
    load(copy)


def test_nothing_is_asked_of_the_network(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    load(copy)


def test_a_backbone_that_is_no_qwen_or_names_code_is_refused(copy: Path) -> None:
    whole = json.loads((copy / "config.json").read_text())["vlm_config"]
    for change, words in (
        ({"auto_map": {"AutoModel": "planted.Step"}}, "has an auto_map, by which it asks to run code"),
        ({"model_type": "qwen3_vl"}, "has a vlm_config that is not a Qwen2.5-VL's"),
        ({"text_config": {**whole["text_config"], "use_sliding_window": True}}, "use_sliding_window=True but it must"),
        ({"vision_config": {**whole["vision_config"], "patch_size": 0}}, "patch_size=0 but it must be a whole number"),
    ):
        edit_json(copy / "config.json", vlm_config={**whole, **change})
        with pytest.raises(ValueError, match=words):
            load(copy)
    edit(copy / "config.json", lambda saved: {key: value for key, value in saved.items() if key != "vlm_config"})
    with pytest.raises(ValueError, match="lacks the key vlm_config"):
        load(copy)


def test_images_that_would_take_all_memory_are_refused_before_anything_is_built(copy: Path) -> None:
    edit_json(copy / "config.json", image_max_pixels=2048 * 28 * 28)
    edit(copy / "config.json", lambda saved: _many_cameras(saved, 16))
    with pytest.raises(ValueError, match="more than 268435456 attention weights"):
        load(copy)


def _many_cameras(saved: dict[str, Any], number: int) -> None:
    image = saved["input_features"]["observation.images.front"]
    saved["input_features"] |= {f"observation.images.camera{i}": image for i in range(number)}


def test_a_missing_weight_is_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.state_proj.bias"]
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(ValueError, match="lacks 1 weights and has 0"):
        load(copy)
