"""lerobot's multi-task DiT draws inside of its sampler: that one draw is replaced, and only that one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.utils.constants import OBS_IMAGES, OBS_STATE
from policy.checkpoints import edit_json
from toys.tiny_dit import SIDE, make_tiny_dit

from dsrl.interfaces import Observation
from dsrl.policy._one_draw import with_noise
from dsrl.policy.lerobot import load_policy
from dsrl.policy.multi_task_dit import MultiTaskDiT
from dsrl.run.components.parts import executed_slots

CONFIGS: dict[str, dict[str, Any]] = {
    "ddim": {"noise_scheduler_type": "DDIM"},
    "flow": {"objective": "flow_matching"},
    "flow_by_rk4": {"objective": "flow_matching", "integration_method": "rk4"},
    "one_observation": {"n_obs_steps": 1, "noise_scheduler_type": "DDIM"},
}


def load(folder: Path, **arguments: Any) -> MultiTaskDiT:
    return load_policy(str(folder), **{"device": "cpu", "dtype": "checkpoint", **arguments})


def observe(policy: MultiTaskDiT) -> Observation:
    generator = torch.Generator().manual_seed(0)
    past = () if policy.num_observations == 1 else (policy.num_observations,)
    image = torch.randint(256, (3, *past, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    words = ("pick up the red cube", "the cube", "")
    return Observation(torch.randn(3, *past, 2, generator=generator), {"front": image}, words)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoding_gives_the_chunk_that_lerobot_makes_of_the_same_draw(name: str, tmp_path: Path) -> None:
    policy = load(make_tiny_dit(tmp_path / name, **CONFIGS[name]))
    observation = observe(policy)
    front = observation.images["front"].float() / 255
    batch = policy._preprocess(
        {OBS_STATE: observation.state, f"{OBS_IMAGES}.front": front, "task": list(observation.instruction)}
    )
    if policy.num_observations == 1:
        batch |= {key: batch[key][:, None] for key in (OBS_STATE, f"{OBS_IMAGES}.front")}
    batch[OBS_IMAGES] = batch[f"{OBS_IMAGES}.front"][:, :, None]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        expected = policy._postprocess(policy._policy._generate_actions(batch))
        torch.manual_seed(7)
        noise = torch.randn(3, *policy.noise_shape)
    for _ in range(2):
        torch.testing.assert_close(policy.decode(policy.encode(observation), noise), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2])
def test_the_first_action_is_denoised_from_the_slot_of_the_latest_observation(length: int, tmp_path: Path) -> None:
    policy = load(make_tiny_dit(tmp_path / "x", n_obs_steps=length, noise_scheduler_type="DDIM"))
    whole = torch.arange(8.0)[:, None].expand(1, 8, 2)
    policy._policy.objective.conditional_sample = lambda *_: torch.randn(1, 8, 2)  # a sampler that plays its noise
    actions = policy._denoise(policy.encode(observe(policy))[torch.zeros(1, dtype=torch.int64)], whole)
    assert actions[0, :, 0].tolist() == list(executed_slots(policy, None)) == [length - 1 + t for t in range(4)]


def test_decoding_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    policy = load(make_tiny_dit(tmp_path / "x"))
    encoding, noise = policy.encode(observe(policy)), torch.randn(3, *policy.noise_shape)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    policy.decode(encoding, noise)
    assert torch.equal(torch.rand(4), expected)


def test_clip_is_built_by_its_sizes_and_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    folder = make_tiny_dit(tmp_path / "x")
    monkeypatch.setattr("socket.socket.connect", refuse)
    assert load(folder).policy_sha256() == load(folder).policy_sha256()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(2, 3),
        lambda: torch.normal(0.0, 1.0, (2, 3)),
        lambda: torch.randn_like(torch.empty(2, 3)),
        lambda: torch.empty(2, 3).normal_(),
        lambda: torch.nn.init.normal_(torch.empty(2, 3)),
        lambda: torch.randn(2, 3, generator=torch.Generator()),
    ],
)
def test_a_gaussian_draw_is_replaced_whichever_function_makes_it(draw: Any) -> None:
    noise = torch.arange(6.0).view(2, 3)
    assert torch.equal(with_noise(noise, lambda: 2 * draw()), 2 * noise)


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda: torch.zeros(2, 3), "draws nothing but one Gaussian draw of"),
        (lambda: torch.randn(2, 3) + torch.randn(2, 3), r"draws randn \[2, 3\], randn \[2, 3\] but one"),
        (lambda: torch.randn(3, 2), r"draws randn \[3, 2\] but one Gaussian draw of \[2, 3\]"),
        (lambda: torch.rand(2, 3), r"draws rand \[2, 3\] but one"),
        (lambda: torch.randn(2, 3) * torch.rand(1), r"draws randn \[2, 3\], rand \[1\] but one"),
    ],
)
def test_any_other_draws_are_refused(compute: Any, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        with_noise(torch.zeros(2, 3), compute)


def test_a_clip_that_asks_for_code_or_for_all_memory_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_dit(tmp_path / "x")
    whole = json.loads((folder / "clip" / "config.json").read_text())
    for change, words in (
        ({"auto_map": {"AutoModel": "planted.Step"}}, "has an auto_map, by which it asks to run code"),
        ({"model_type": "siglip"}, "is not the config.json of a CLIP"),
        (
            {"vision_config": {**whole["vision_config"], "image_size": 2048, "patch_size": 1}},
            "attends over 4194304 pat",
        ),
        ({"text_config": {**whole["text_config"], "hidden_act": "planted"}}, "hidden_act='planted' but it must be one"),
    ):
        edit_json(folder / "clip" / "config.json", **(whole | change))
        with pytest.raises(ValueError, match=words):
            load(folder)
        (folder / "clip" / "config.json").write_text(json.dumps(whole))
