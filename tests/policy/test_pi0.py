"""π0 and π0.5 return lerobot's own chunks from one prefix pass, and refuse what lerobot would load silently."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.utils.constants import OBS_STATE
from policy.checkpoints import edit, edit_json
from safetensors.torch import load_file, save_file
from toys.recording import CallsAgain, results_beside
from toys.tiny_pi import CLASSES, SIDE, WIDTH, make_tiny_pi, small_sizes

from dsrl.interfaces import Encoding, Observation
from dsrl.policy import pi0
from dsrl.policy.lerobot import load_policy
from dsrl.policy.pi0 import Pi0
from dsrl.policy.pi05 import Pi05

INSTRUCTIONS = ("pick up the red cube", "put it now", "")
KINDS = ("pi0", "pi05")


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: make_tiny_pi(tmp_path_factory.mktemp(kind) / "tiny", kind) for kind in KINDS}


def load(folder: Path, **arguments: Any) -> Pi0:
    return load_policy(str(folder), **{"device": "cpu", "dtype": "checkpoint", **arguments})


def observe(policy: Pi0, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    images = {
        camera: torch.randint(256, (3, 3, *size), generator=generator, dtype=torch.uint8)
        for camera in policy.embodiment.cameras
    }
    return Observation(torch.randn(3, policy.embodiment.state_dim, generator=generator), images, INSTRUCTIONS)


def check_chunk(policy: Pi0, observation: Observation) -> None:
    """Compare a chunk with that of lerobot's own `predict_action_chunk`."""
    batch: dict[str, Any] = {OBS_STATE: observation.state.clone(), "task": list(observation.instruction)}
    batch |= {key: observation.images[camera].float() / 255 for camera, key in policy.embodiment.cameras.items()}
    noise = torch.randn(3, *policy.noise_shape, generator=torch.Generator().manual_seed(1))
    expected = policy._postprocess(policy._policy.predict_action_chunk(policy._preprocess(batch), noise=noise))
    assert expected.shape == (3, *policy.chunk_shape)
    encoding = policy.encode(observation)
    for _ in range(2):  # the second time shows that denoising left the cache alone
        torch.testing.assert_close(policy.decode(encoding, noise), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"cameras": ("front", "wrist"), "empty_cameras": 1}, {"num_inference_steps": 10, "chunk": 3}],
    ids=["default", "cameras", "steps"],
)
def test_decoding_gives_lerobots_own_chunk(kind: str, changes: dict[str, Any], tmp_path: Path) -> None:
    policy = load(make_tiny_pi(tmp_path / kind, kind, **changes))
    check_chunk(policy, observe(policy))


def test_a_choice_of_one_type_loads_it_and_refuses_the_other(folders: dict[str, Path]) -> None:
    for policy, mine, other in ((Pi0, "pi0", "pi05"), (Pi05, "pi05", "pi0")):
        assert policy(str(folders[mine]), "cpu", "checkpoint").policy_type == mine
        with pytest.raises(ValueError, match=f"of type '{other}' but policy={mine} loads '{mine}' only"):
            policy(str(folders[other]), "cpu", "checkpoint")


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_size_are_resized_as_lerobot_does(kind: str, folders: dict[str, Path]) -> None:
    policy = load(folders[kind])
    check_chunk(policy, observe(policy, size=(40, 20)))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_bfloat16_stay_so_and_give_lerobots_own_chunk(kind: str, tmp_path: Path) -> None:
    policy = load(make_tiny_pi(tmp_path / kind, kind, dtype="bfloat16"))
    assert {weight.dtype for weight in policy._policy.parameters()} == {torch.float32, torch.bfloat16}
    check_chunk(policy, observe(policy))
    whole = load(tmp_path / kind, dtype="float32")
    assert {weight.dtype for weight in whole._policy.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_casts_the_weights_that_lerobot_holds_in_it_and_moves_chunks_a_little(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    half, stored = load(folders[kind], dtype="bfloat16"), load(make_tiny_pi(tmp_path / kind, kind, dtype="bfloat16"))
    types = [{name: w.dtype for name, w in policy._policy.named_parameters()} for policy in (half, stored)]
    assert types[0] == types[1]
    check_chunk(half, observe(half))
    whole, noise = load(folders[kind]), torch.randn(3, *half.noise_shape)
    chunks = [policy.decode(policy.encode(observe(policy)), noise) for policy in (half, whole)]
    assert 0 < (chunks[0] - chunks[1]).abs().max() < 0.1


def check_replays(plain: Pi0, replayed: Pi0, tolerance: float) -> None:
    encoded, chunks = results_beside(plain, replayed, observe)
    for pair in encoded + chunks:  # at the end: no later call changed an earlier result
        torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replayed_policy_gives_the_plain_features_and_chunks(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load(folders[kind])
    recorders: list[CallsAgain] = []
    monkeypatch.setattr(pi0, "recorder", lambda _: recorders.append(CallsAgain()) or recorders[-1])
    check_replays(plain, load(folders[kind]), 1e-5)
    assert recorders[-1].recorded >= 3 * 3  # vision, layers and denoising, of 3, 5 and 10 rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.filterwarnings("error::UserWarning")  # as where CUDA cannot record a computation
@pytest.mark.parametrize("kind", KINDS)
def test_recordings_of_cuda_give_the_features_and_chunks_of_plain_calls(
    kind: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = load(folders[kind], device="cuda")
    monkeypatch.setattr(pi0, "recorder", lambda _: None)
    check_replays(load(folders[kind], device="cuda"), recorded, 1e-3)  # cuDNN's convolutions round to TF32


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_context_have_the_sizes_of_one_prefix_pass(kind: str, folders: dict[str, Path]) -> None:
    policy = load(folders[kind])
    encoding = policy.encode(observe(policy))
    assert encoding.features.shape == (3, policy.feature_dim) == (3, 5 + 2 * WIDTH)
    assert encoding.context["keys"].shape == (3, 2, 1, 4 + 24, 8)  # 4 image and 24 language tokens
    assert ("state" in encoding.context) == (kind == "pi0")  # π0.5 has its state in the prompt


@pytest.mark.parametrize("kind", KINDS)
def test_worlds_with_instructions_of_any_length_share_one_batch(kind: str, tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / kind, kind)
    edit(folder / "policy_preprocessor.json", _pad_to_longest)
    policy = load(folder)
    observation, noise = observe(policy), torch.randn(3, *policy.noise_shape)
    together = policy.encode(observation)
    apart = [policy.encode(observation[torch.tensor([row])]) for row in range(3)]
    context = {key: torch.cat([one.context[key] for one in apart]) for key in together.context}
    mixed = Encoding(torch.cat([one.features for one in apart]), context)
    torch.testing.assert_close(mixed.features, together.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(policy.decode(mixed, noise), policy.decode(together, noise), rtol=0, atol=1e-5)


def _pad_to_longest(saved: dict[str, Any]) -> None:
    (step,) = [step for step in saved["steps"] if step["registry_name"] == "tokenizer_processor"]
    step["config"]["padding"] = "longest"


def test_names_of_early_checkpoints_are_those_of_lerobots_own_loading(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, now, early in (("pi0", "action_time_mlp_", "time_mlp_"), ("pi05", "time_mlp_", "action_time_mlp_")):
        policy = load(folders[kind])
        copy = make_tiny_pi(tmp_path / kind, kind)
        weights = load_file(copy / "model.safetensors")
        renamed = {name.removeprefix("model.").replace(f"{now}in", f"{early}in"): w for name, w in weights.items()}
        assert renamed.keys() != weights.keys()
        save_file(renamed, copy / "model.safetensors")
        assert load(copy).policy_sha256() == policy.policy_sha256()


@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_words_that_are_stored_as_those_written_alone_are_those_read(kind: str, prefix: str, tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / kind, kind)
    weights = {prefix + name.removeprefix("model."): w for name, w in load_file(folder / "model.safetensors").items()}
    read = weights.pop(prefix + pi0.READ.removeprefix("model."))
    weights[prefix + pi0.WRITTEN.removeprefix("model.")] = read
    if kind == "pi05":
        weights["state_proj.weight"] = torch.ones(2, 2)
    save_file(weights, folder / "model.safetensors")
    policy, theirs = load(folder), CLASSES[kind][1].from_pretrained(folder, strict=True)
    for name in (pi0.READ, pi0.WRITTEN):
        assert torch.equal(policy._policy.state_dict()[name], read)
        assert torch.equal(theirs.state_dict()[name], read)
    check_chunk(policy, observe(policy))


def test_what_would_need_a_memory_or_another_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / "pi0", "pi0")
    edit_json(folder / "config.json", use_relative_actions=True)
    with pytest.raises(ValueError, match=r"use_relative_actions=True but it must be False"):
        load(folder)
    edit_json(folder / "config.json", use_relative_actions=False)
    (folder / "tokenizer" / "tokenizer_config.json").rename(folder / "tokenizer" / "gone.json")
    with pytest.raises(FileNotFoundError, match=r"names the tokenizer 'tokenizer', which is no folder in it; copy"):
        load(folder)


def test_a_tokenizer_of_another_backbone_is_refused_where_it_gives_unknown_tokens(tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / "pi0", "pi0")
    file = folder / "tokenizer" / "tokenizer.json"
    content = json.loads(file.read_text())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {f"other{i}": i for i in range(1000)} | {w: 1000 + words[w] for w in words}
    for token in content["added_tokens"]:
        token["id"] += 1000
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has a tokenizer with the token 10\d\d but a backbone of \d+ tokens; copy"):
        load(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_weight_is_refused_and_one_of_words_may_be_missing(kind: str, tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / kind, kind)
    weights = load_file(folder / "model.safetensors")
    words = [name for name in weights if "gemma_expert.lm_head" in name]
    save_file({name: w for name, w in weights.items() if name not in words}, folder / "model.safetensors")
    load(folder)
    del weights["model.action_in_proj.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match="lacks 1 weights and has 0"):
        load(folder)


def test_images_that_would_take_all_memory_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    folder = make_tiny_pi(tmp_path / "pi0", "pi0")
    edit_json(folder / "config.json", image_resolution=[1008, 1008])
    with pytest.raises(ValueError, match="attends over 5184 patches of an image with 16 heads, more than"):
        load(folder)
