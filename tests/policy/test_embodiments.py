"""Real robots: other camera names, sizes and dimensions. All that does not fit is told at once; its advice works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from policy.checkpoints import edit, edit_json
from safetensors.torch import load_file, save_file
from toys.commands import CONF
from toys.tiny_diffusion import SIDE, make_tiny_diffusion
from toys.tiny_dit import make_tiny_dit
from toys.tiny_eo1 import make_tiny_eo1
from toys.tiny_pi import make_tiny_pi, small_sizes
from toys.tiny_smolvla import make_tiny_checkpoint

from dsrl.interfaces import Observation
from dsrl.policy._embodiment import image_keys
from dsrl.policy.lerobot import load_policy
from dsrl.run.components.build import build
from dsrl.run.terminal.errors import UserError

ARMS = ("cam_high", "cam_left_wrist", "cam_right_wrist")  # as on ALOHA: two arms with 14 joints
VIEWS = ("left", "right", "top")
STEPS = 32  # of an episode


def _dit(folder: Path, cameras: Sequence[str], state_dim: int, action_dim: int, **changes: Any) -> Path:
    from lerobot.configs import FeatureType, PolicyFeature
    from toys.tiny_dit import SIDE

    inputs = {"observation.state": PolicyFeature(FeatureType.STATE, (state_dim,))}
    inputs |= {f"observation.images.{name}": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)) for name in cameras}
    actions = {"action": PolicyFeature(FeatureType.ACTION, (action_dim,))}
    return make_tiny_dit(folder, input_features=inputs, output_features=actions, **changes)


MAKERS: dict[str, Callable[..., Path]] = {
    "smolvla": make_tiny_checkpoint,
    "pi0": lambda folder, **robot: make_tiny_pi(folder, "pi0", **robot),
    "pi05": lambda folder, **robot: make_tiny_pi(folder, "pi05", **robot),
    "eo1": make_tiny_eo1,
    "diffusion": make_tiny_diffusion,
    "multi_task_dit": _dit,
}


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_sizes():
        yield


def load(folder: Path, camera_map: Mapping[str, str] | None = None) -> Any:
    return load_policy(str(folder), "cpu", "checkpoint", camera_map)


def task(views: Sequence[str], shape: tuple[int, int, int], dim: int = 14) -> Any:
    return SimpleNamespace(cameras=dict.fromkeys(views, shape), state_dim=dim, action_dim=dim, max_steps=STEPS)


def typed(message: str) -> dict[str, str]:
    """Return what `policy.camera_map` becomes where the advice of a message is typed."""
    (advice,) = re.findall(r"type '(policy\.camera_map=.*?)'", message)
    value = OverridesParser.create().parse_override(advice).value()
    assert isinstance(value, dict)
    assert all(isinstance(word, str) for pair in value.items() for word in pair)
    return value


@pytest.mark.parametrize("kind", MAKERS)
def test_an_unusual_robot_is_told_what_differs_and_fits_once_the_advice_is_typed(kind: str, tmp_path: Path) -> None:
    folder = MAKERS[kind](tmp_path / kind, cameras=ARMS, state_dim=14, action_dim=14)
    policy = load(folder)
    shape = next(iter(policy.embodiment.image_shapes.values()))
    with pytest.raises(ValueError, match="the task has") as caught:
        policy.check_fits(task(VIEWS, shape, dim=4))
    sizes = "a 14-dim state but the task has a 4-dim one, and a 14-dim action but the task has a 4-dim one"
    assert sizes in str(caught.value)
    fitting = load(folder, typed(str(caught.value)))
    fitting.check_fits(task(VIEWS, shape))
    past = () if fitting.num_observations == 1 else (fitting.num_observations,)
    images = {view: torch.zeros(2, *past, *shape, dtype=torch.uint8) for view in VIEWS}
    chunk = fitting.decode(
        fitting.encode(Observation(torch.zeros(2, *past, 14), images, ("", ""))), torch.zeros(2, *fitting.noise_shape)
    )
    assert chunk.shape == (2, fitting.chunk_shape[0], 14)


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_diffusion(tmp_path_factory.mktemp("arms") / "x", cameras=ARMS, state_dim=14, action_dim=14)


def complaint(folder: Path, views: Mapping[str, tuple[int, ...]], camera_map: Mapping[str, str] | None = None) -> str:
    fitting = SimpleNamespace(cameras=views, state_dim=14, action_dim=14, max_steps=STEPS)
    with pytest.raises(ValueError, match=r"policy\.path=") as caught:
        load(folder, camera_map).check_fits(fitting)
    return str(caught.value)


def test_advice_contains_the_names_that_were_typed_already(arms: Path) -> None:
    same = dict.fromkeys(VIEWS, (3, SIDE, SIDE))
    advice = typed(complaint(arms, same, {"top": "cam_high"}))
    assert advice == {"top": "cam_high", "left": "cam_left_wrist", "right": "cam_right_wrist"}


def test_a_view_that_the_task_lacks_is_replaced_by_one_that_it_has(arms: Path) -> None:
    same = dict.fromkeys(VIEWS, (3, SIDE, SIDE))
    mistyped = {"tpo": "cam_high", "left": "cam_left_wrist", "right": "cam_right_wrist"}
    assert typed(complaint(arms, same, mistyped)) == {
        "top": "cam_high",
        "left": "cam_left_wrist",
        "right": "cam_right_wrist",
    }


def test_a_task_with_too_few_cameras_is_told_so_at_once(arms: Path) -> None:
    message = complaint(arms, {"top": (3, SIDE, SIDE), "left": (3, SIDE, SIDE)})
    assert "choose a task with at least as many cameras, 3" in message
    assert "camera_map" not in message


def test_a_task_that_can_observe_what_a_checkpoint_takes_is_told_its_key(arms: Path) -> None:
    numbers = {"cameras": {}, "state_dim": 30, "action_dim": 14, "max_steps": STEPS}
    ending = r"cameras .* but the task has \[\], and a 14-dim state but the task has a 30-dim one; "
    needed = "where the task then has 3 cameras or more and a 14-dim state, or choose another task"
    policy = load(arms)
    with pytest.raises(ValueError, match=f"{ending}type task.observation=images {needed}$"):
        policy.check_fits(SimpleNamespace(**numbers, observation="state"))
    with pytest.raises(ValueError, match=f"{ending}choose a task with at least as many cameras, 3, and choose a chec"):
        policy.check_fits(SimpleNamespace(**numbers))
    with pytest.raises(ValueError, match=r"a 7-dim one; choose a task with at least as many cameras, 3, and choose"):
        policy.check_fits(SimpleNamespace(**{**numbers, "action_dim": 7}, observation="state"))
    blind = replace(policy.embodiment, cameras={}, image_shapes={}, state_dim=30)
    images = task(VIEWS, (3, SIDE, SIDE))
    with pytest.raises(ValueError, match=r"this robot and control, or another task$"):
        blind.check_fits(images)
    with pytest.raises(ValueError, match=r"this robot and control, another task, or task.observation=state$"):
        blind.check_fits(SimpleNamespace(**vars(images), observation="images"))


def test_images_of_another_size_are_told_with_the_names(arms: Path) -> None:
    message = complaint(arms, {**dict.fromkeys(VIEWS, (3, 96, 96)), "wide": (3, SIDE, SIDE)})
    assert f"images cam_left_wrist of [3, {SIDE}, {SIDE}] but the task's left are [3, 96, 96]" in message
    assert typed(message)["wide"] == "cam_high"  # the one view of its size


@pytest.mark.parametrize("kind", ["diffusion", "multi_task_dit"])
def test_cameras_that_become_one_tensor_need_one_size(kind: str, tmp_path: Path) -> None:
    resized = {"image_resize_shape": (32, 32)} if kind == "multi_task_dit" else {"resize_shape": (64, 64)}
    folder = MAKERS[kind](tmp_path / "x", cameras=("front", "top"), state_dim=14, action_dim=14, **resized)
    policy = load(folder)
    policy.check_fits(task(("front", "top"), (3, 96, 80)))
    odd = SimpleNamespace(**{**vars(task((), (3, 9, 9))), "cameras": {"front": (3, 64, 64), "top": (3, 96, 80)}})
    expected = (
        r"one size of images for all cameras but the task has front of \[3, 64, 64\] and top of \[3, 96, 80\]; "
        "choose a task whose cameras have one size$"
    )
    with pytest.raises(ValueError, match=expected):
        policy.check_fits(odd)


@pytest.mark.parametrize("kind", ["smolvla", "pi0", "pi05"])
def test_a_camera_that_a_fine_tune_never_saw_is_named_and_may_be_deleted(kind: str, tmp_path: Path) -> None:
    names = ("camera1", "camera2", "camera3")
    folder = MAKERS[kind](tmp_path / kind, cameras=names, state_dim=4, action_dim=4, empty_cameras=1)
    renamed = {
        f"observation.images.{view}": f"observation.images.{name}" for view, name in zip("ab", names, strict=False)
    }
    edit(folder / "policy_preprocessor.json", lambda saved: saved["steps"][0]["config"].update(rename_map=renamed))
    two = task(("a", "b"), (3, 32, 32), dim=4)
    with pytest.raises(ValueError, match=r"without 'observation\.images\.camera3', delete that from its config\.json"):
        load(folder).check_fits(two)
    edit(folder / "config.json", lambda saved: saved["input_features"].pop("observation.images.camera3") and None)
    load(folder).check_fits(two)


def test_names_that_hydra_would_read_as_numbers_are_quoted(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", cameras=("0", "null", "cam-2"), state_dim=14, action_dim=14)
    advice = typed(complaint(folder, dict.fromkeys(VIEWS, (3, SIDE, SIDE))))
    assert set(advice.values()) == {"0", "null", "cam-2"}
    load(folder, advice).check_fits(task(VIEWS, (3, SIDE, SIDE)))


def test_all_wrong_names_of_cameras_are_told_at_once(arms: Path) -> None:
    with pytest.raises(ValueError, match=r"camera_map names 'camera1', 'camera2' but the cameras of .* type one of"):
        load(arms, {"top": "camera1", "left": "camera2"})


def test_cameras_that_share_a_name_are_told_apart_by_what_the_message_types(tmp_path: Path) -> None:
    cameras = ("left.rgb", "right.rgb")
    folder = make_tiny_diffusion(tmp_path / "x", cameras=cameras, state_dim=14, action_dim=14)
    with pytest.raises(ValueError, match="share a name; name the task's camera for one of them") as caught:
        load(folder)
    advice = OverridesParser.create().parse_override(str(caught.value).split("'")[-2]).value()
    assert load(folder, advice).embodiment.cameras["front"] == "observation.images.left.rgb"


def test_a_typed_command_is_told_cameras_and_chunk_at_once_and_builds_once_the_advice_is_typed(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "x", cameras=("camera1",), state_dim=4, action_dim=4, chunk=6)
    command = ["task=simple_pick", "task.max_steps=4", "policy=lerobot", f"policy.path={folder}", "policy.device=cpu"]
    with pytest.raises(
        UserError, match=r"cameras \['camera1'\] but the task has .*; and type horizon=4, because"
    ) as caught:
        _built(command)
    (camera_map,) = re.findall(r"type '(policy\.camera_map=.*?)'", str(caught.value))
    (horizon,) = re.findall(r"type (horizon=\d+)", str(caught.value))
    parts = _built([*command, camera_map, horizon])
    assert (parts.env.horizon, list(parts.policy.embodiment.cameras)) == (4, ["front"])


def _built(command: list[str]) -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(compose("train", command), announce=lambda _: None)


# ---- checkpoints of early versions of lerobot


def make_early(folder: Path) -> Path:
    """Put the statistics of both processors among the weights, as lerobot 0.3 did, and remove the processors."""
    weights = load_file(folder / "model.safetensors")
    for file in folder.glob("policy_*.safetensors"):
        kind = "normalize_inputs" if "preprocessor" in file.name else "unnormalize_outputs"
        for name, numbers in load_file(file).items():
            key, _, statistic = name.rpartition(".")
            weights[f"{kind}.buffer_{key.replace('.', '_')}.{statistic}"] = numbers.clone()
    save_file(weights, folder / "model.safetensors")
    for file in folder.glob("policy_*"):
        file.unlink()
    return folder


def test_an_early_checkpoint_is_told_what_to_type(tmp_path: Path) -> None:
    folder = make_early(make_tiny_diffusion(tmp_path / "it's old"))
    with pytest.raises(FileNotFoundError, match=r"it is of lerobot 0\.3 or earlier: type `python -m lerobot") as caught:
        load(folder)
    assert str(caught.value).endswith("_migrated'")
    (tmp_path / "link").symlink_to(folder)  # beside which lerobot writes the result
    with pytest.raises(FileNotFoundError) as caught:
        load(tmp_path / "link")
    assert str(caught.value).endswith(f"policy.path={tmp_path}/link_migrated")
    edit(folder / "config.json", lambda saved: saved["input_features"].update(x={"type": "ENV", "shape": [6]}))
    with pytest.raises(FileNotFoundError, match="write both with the statistics among its weights") as caught:
        load(folder)
    assert "migrate_policy_normalization" not in str(caught.value)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="copy them from where it was saved"):
        load(folder)


def test_statistics_among_the_weights_are_left_alone_where_processors_hold_them(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", cameras=(), surroundings_dim=6)
    expected = load(folder).policy_sha256()
    weights = load_file(folder / "model.safetensors")
    save_file(
        {**weights, "normalize_inputs.buffer_observation_state.mean": torch.ones(2)}, folder / "model.safetensors"
    )
    assert load(folder).policy_sha256() == expected


def test_all_fields_that_the_installed_lerobot_does_not_have_are_told_at_once(tmp_path: Path) -> None:
    folder = make_tiny_diffusion(tmp_path / "x", cameras=(), surroundings_dim=6)
    edit_json(folder / "config.json", crop_shapes=[1, 1], input_shapes={})
    with pytest.raises(ValueError, match="has the unknown keys 'crop_shapes', 'input_shapes'; remove what it names"):
        load(folder)


@pytest.mark.parametrize(("config", "keys"), [({}, 2), ({"empty_cameras": 0}, 2), ({"empty_cameras": 1}, 1)])
def test_a_camera_is_empty_only_where_the_configuration_adds_empty_ones(config: dict[str, int], keys: int) -> None:
    features = dict.fromkeys(["observation.images.front", "observation.images.empty_camera_0"])
    assert len(image_keys(SimpleNamespace(image_features=features, **config))) == keys
