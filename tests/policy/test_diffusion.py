"""lerobot's Diffusion Policy is steered by DDIM: lerobot's own chunks, its own history, and no silent mistakes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.factory import make_pre_post_processors
from lerobot.utils.constants import OBS_ENV_STATE, OBS_STATE
from policy.checkpoints import edit_json
from safetensors.torch import load_file, save_file
from toys.recorded import Recorded
from toys.tiny_diffusion import SIDE, make_tiny_diffusion

from dsrl.interfaces import Observation
from dsrl.noise.full import FullNoise
from dsrl.noise.per_step import PerStepNoise
from dsrl.noise_action_env import NoiseActionEnv
from dsrl.policy.diffusion import Diffusion
from dsrl.policy.lerobot import load_policy
from dsrl.run.components.parts import HasRemarks, executed_slots

CONFIGS: dict[str, dict[str, Any]] = {
    "images": {},
    "two_cameras_one_encoder": {"cameras": ("front", "top"), "use_separate_rgb_encoder_per_camera": False},
    "states_alone": {"cameras": (), "surroundings_dim": 6},
    "images_and_surroundings": {"surroundings_dim": 3},
    "one_observation": {"n_obs_steps": 1},
    "three_observations": {"n_obs_steps": 3},
    "cropped": {"crop_shape": (48, 48)},
    "group_norm": {"use_group_norm": True},
    "resized": {"resize_shape": (40, 40), "crop_ratio": 0.9},
    "predicts_actions": {"prediction_type": "sample"},
    "every_level": {"num_train_timesteps": 7, "num_inference_steps": None},
}


NUMBERS: dict[str, Any] = {"cameras": (), "surroundings_dim": 6}  # no network of pictures, which takes the most time


def load(folder: Path, **arguments: Any) -> Diffusion:
    return load_policy(str(folder), **{"device": "cpu", "dtype": "checkpoint", **arguments})


def observe(policy: Diffusion, seed: int = 0) -> Observation:
    generator = torch.Generator().manual_seed(seed)
    past = () if policy.num_observations == 1 else (policy.num_observations,)
    shape = (3, *past, 3, SIDE, SIDE)
    images = {
        name: torch.randint(256, shape, generator=generator, dtype=torch.uint8) for name in policy.embodiment.cameras
    }
    state = torch.randn(3, *past, policy.embodiment.state_dim, generator=generator)
    return Observation(state, images, ("",) * 3)


def lerobots_batch(policy: Diffusion, observation: Observation) -> dict[str, Any]:
    """Name an observation as lerobot does and preprocess it."""
    robot = policy.embodiment.state_dim - policy.embodiment.surroundings_dim
    batch: dict[str, Any] = {OBS_STATE: observation.state[..., :robot].clone()}
    if policy.embodiment.surroundings_dim:
        batch[OBS_ENV_STATE] = observation.state[..., robot:].clone()
    batch |= {key: observation.images[camera].float() / 255 for camera, key in policy.embodiment.cameras.items()}
    return policy._preprocess(batch)


def lerobots_own(folder: Path) -> DiffusionPolicy:
    return DiffusionPolicy.from_pretrained(folder).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_decoding_gives_lerobots_own_chunk(name: str, tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / name, **CONFIGS[name])
    policy = load(folder)
    observation = observe(policy)
    batch = lerobots_batch(policy, observation)
    if policy.num_observations == 1:  # lerobot adds the axis of time to images alone
        batch |= {key: value[:, None] for key, value in batch.items() if key in (OBS_STATE, OBS_ENV_STATE)}
    noise = torch.randn(3, *policy.noise_shape, generator=torch.Generator().manual_seed(1))
    expected = policy._postprocess(lerobots_own(folder).predict_action_chunk(batch, noise=noise))
    assert expected.shape == (3, *policy.chunk_shape)
    for _ in range(2):
        torch.testing.assert_close(policy.decode(policy.encode(observation), noise), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_episode_has_the_actions_of_lerobots_own_select_action(length: int, tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", n_obs_steps=length)
    policy, theirs, task = load(folder), lerobots_own(folder), Recorded(SIDE)
    env = NoiseActionEnv(task, policy, FullNoise(policy.noise_shape, 2.0, None), horizon=4)
    noise = torch.randn(3, task.num_envs, *policy.noise_shape, generator=torch.Generator().manual_seed(1))
    env.reset_worlds(torch.arange(task.num_envs), [5, 6])
    for one in noise:
        env.decide(one, torch.arange(task.num_envs))
    played, task.actions = task.actions, []
    task.reset(torch.arange(task.num_envs), [5, 6])
    theirs.reset()
    for step in range(12):
        batch = lerobots_batch(policy, task.observe())
        action = theirs.select_action(batch, noise=noise[step // 4])
        task.step(policy._postprocess(action))
    torch.testing.assert_close(torch.stack(played), torch.stack(task.actions), rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_each_executed_action_is_moved_most_by_the_slot_that_per_step_noise_steers_for_it(
    length: int, tmp_path: Path
) -> None:
    policy = load(make_tiny_diffusion(tmp_path / "x", n_obs_steps=length, **NUMBERS))
    executed = executed_slots(policy, None)
    assert PerStepNoise(policy.noise_shape, 1.5, None, "executed", "fresh", executed).slots == executed
    row = policy.encode(observe(policy))[torch.zeros(9, dtype=torch.int64)]
    moved = torch.zeros(8, 4)  # by slot and action
    for seed in range(40):
        noise = 0.3 * torch.randn(8, 2, generator=torch.Generator().manual_seed(seed))
        other = torch.cat(
            [torch.eye(8)[..., None] * 0.01, torch.zeros(1, 8, 1)]
        )  # one slot moves in each row but the last
        *chunks, still = policy.decode(row, noise + other)
        moved += (torch.stack(chunks) - still).abs().sum(-1)
    assert moved.argmax(0).tolist() == list(executed)


def test_a_checkpoint_of_ddpm_is_sampled_by_ddim(tmp_path: Path) -> None:
    ddim = load(make_tiny_diffusion(tmp_path / "ddim", **NUMBERS))
    ddpm = load(make_tiny_diffusion(tmp_path / "ddpm", **NUMBERS, noise_scheduler_type="DDPM"))
    noise = torch.randn(3, *ddim.noise_shape)
    chunks = [policy.decode(policy.encode(observe(policy)), noise) for policy in (ddim, ddpm)]
    assert torch.equal(*chunks)


def test_the_weights_of_a_compiled_network_are_those_of_the_network(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS)
    expected = load(folder).policy_sha256()
    weights = load_file(folder / "model.safetensors")
    compiled = {name.replace("diffusion.unet.", "diffusion.unet._orig_mod."): one for name, one in weights.items()}
    assert compiled.keys() != weights.keys()
    save_file(compiled, folder / "model.safetensors")
    edit_json(folder / "config.json", compile_model=True)
    assert load(folder).policy_sha256() == expected


def test_num_steps_overrides_the_checkpoints(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS)
    policy, quick = load(folder), load(folder, num_steps=10)
    noise = torch.randn(3, *policy.noise_shape)
    chunks = [one.decode(one.encode(observe(one)), noise) for one in (policy, quick)]
    assert not torch.allclose(*chunks)
    with pytest.raises(ValueError, match=r"policy\.num_steps=101 but .* has 100 levels of noise; type a number of 1"):
        load(folder, num_steps=101)


@pytest.mark.parametrize(
    ("steps", "first", "advice"),
    [
        (1, 0, "policy.num_steps=5"),
        (60, 59, "policy.num_steps=50 or policy.num_steps=81"),
        (5, None, ""),
        (99, None, ""),
    ],
)
def test_steps_that_would_start_far_below_pure_noise_are_refused_with_those_that_do_not(
    steps: int, first: int | None, advice: str, tmp_path: Path
) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS, num_inference_steps=steps)
    own = load(folder)
    if first is None:
        assert (own.remarks, load(folder, num_steps=steps).remarks) == ((), ())
        return
    with pytest.raises(ValueError, match=rf"starts at level {first} of 0 to 99, far .*; type {advice}$"):
        load(folder, num_steps=steps)
    assert isinstance(own, HasRemarks)  # and so it is announced
    (remark,) = own.remarks
    assert f"with its own {steps} steps, starts at level {first} of" in remark
    assert remark.endswith(advice)
    assert own._policy.diffusion.noise_scheduler.timesteps[0] == first
    for word in advice.split(" or "):
        load(folder, num_steps=int(word.rpartition("=")[2]))


def test_actions_that_the_network_does_not_reach_are_refused(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS, n_action_steps=8)
    with pytest.raises(ValueError, match=r"has n_action_steps=8 but a horizon of 8 has 7 actions after 2 obs.*=7$"):
        load(folder)


def test_images_of_another_size_and_all_other_differences_are_told_at_once(tmp_path: Path) -> None:
    policy, task = load(make_tiny_diffusion(tmp_path / "x")), Recorded(SIDE)
    policy.check_fits(task)
    task.cameras, task.state_dim = {"front": (3, 96, 96)}, 5
    expected = r"has a 2-dim state but the task has a 5-dim one, and images front of \[3, 64, 64\] but .*, 96\];"
    with pytest.raises(ValueError, match=expected):
        policy.check_fits(task)
    load(make_tiny_diffusion(tmp_path / "y", resize_shape=(64, 64), state_dim=5)).check_fits(task)


def test_observations_without_their_history_are_refused(tmp_path: Path) -> None:
    policy = load(make_tiny_diffusion(tmp_path / "x"))
    whole = observe(policy)
    with pytest.raises(ValueError, match=r"state is \(3, 2\) but .* takes \[B, 2, 2\]"):
        policy.encode(Observation(whole.state[:, 0], whole.images, whole.instruction))
    with pytest.raises(ValueError, match=r"\(3, 3, 64, 64\) but images are uint8 \[B, 2, 3, H, W\]"):
        policy.encode(Observation(whole.state, {"front": whole.images["front"][:, 0]}, whole.instruction))


def test_pretrained_weights_that_a_checkpoint_names_are_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    folder = make_tiny_diffusion(tmp_path / "x")
    edit_json(folder / "config.json", pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1")
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    load(folder)


def test_a_type_that_cannot_be_steered_and_a_missing_package_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS)
    monkeypatch.setattr("dsrl.policy.lerobot.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package diffusers; type uv pip install"):
        load(folder)
    for found, words in (
        ("act", "draws no Gaussian noise"),
        ("pi0_fast", "draws no Gaussian noise"),
        ("xvla", "takes a noise argument and ignores it"),
        ("vla_jepa", "takes a noise argument and ignores it"),
        ("groot", "reads the sizes of its network from a second checkpoint, its base_model_path"),
        ("fastwam", "imagines a video beside its actions"),
        ("__import__", "is not one that dsrl can load"),
    ):
        edit_json(folder / "config.json", type=found)
        with pytest.raises(ValueError, match=rf"of type '{found}', which {words}.*choose a checkpoint of type smolvla"):
            load(folder)


def test_the_digest_is_that_of_the_configuration_that_chunks_depend_on(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", **NUMBERS)
    expected, whole = load(folder).configuration_sha256(), (folder / "config.json").read_text()
    config, again = PreTrainedConfig.from_pretrained(folder), tmp_path / "again"
    shutil.copytree(folder, again)
    for saved in (config, *make_pre_post_processors(config, str(folder))):
        saved.save_pretrained(again)
    assert load(again).configuration_sha256() == expected

    machine = {"device": "cuda", "repo_id": "a/b", "tags": ["x"], "pretrained_path": "/x", "compile_model": True}
    edit_json(folder / "config.json", **machine, optimizer_lr=3.0, drop_n_last_frames=1, noise_scheduler_type="DDPM")
    assert load(folder).configuration_sha256() == expected
    for change in ({"num_inference_steps": 4}, {"clip_sample": False}, {"n_action_steps": 3}):
        (folder / "config.json").write_text(whole)
        edit_json(folder / "config.json", **change)
        assert load(folder).configuration_sha256() != expected, change
        assert load(folder).policy_sha256() == load(again).policy_sha256()
    for file in again.glob("policy_*normalizer*.safetensors"):
        stats = load_file(file)
        save_file({name: 0.8 * one for name, one in stats.items()}, file)
        assert load(again).configuration_sha256() != expected, file
        save_file(stats, file)
    assert load(again).configuration_sha256() == expected
