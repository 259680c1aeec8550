"""An exported policy reads a batch of lerobot as the run's task observed it, or refuses it in one sentence."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from toys.commands import CONF, ROOT, SHORT_PENDULUM
from toys.mlp_checkpoints import make_config
from toys.tiny_diffusion import make_tiny_diffusion

from dsrl.interfaces import Observation
from dsrl.policy._mlp_checkpoint import save_checkpoint
from dsrl.run.components.build import build
from dsrl.run.exported import Described
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.errors import UserError
from scripts.export.__main__ import main as export
from scripts.export.in_python import lines

sys.path.append(str(ROOT / "plugins" / "lerobot_policy_dsrl"))
STATE, PICTURE = "observation.state", "observation.images.front"
TASK = Described(state_dim=3, action_dim=1, cameras={"front": (3, 4, 6), "spare": (3, 9, 9)}, max_steps=9)


def _observe(batch: dict[str, Any]) -> Observation:
    from lerobot_policy_dsrl.batches import taken, to_observation

    return to_observation(taken(batch, TASK, ["front"]))


def _batch(**changes: Any) -> dict[str, Any]:
    """Return two worlds; `changes` are of state, picture and task, None for none."""
    entries = {"state": torch.zeros(2, 3), "picture": torch.full((2, 3, 4, 6), 200 / 255), "task": ["a", "b"]}
    named = {"state": STATE, "picture": PICTURE, "task": "task"}
    return {named[key]: value for key, value in {**entries, **changes}.items() if value is not None}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_a_picture_of_bytes_is_that_of_floats(dtype: torch.dtype) -> None:
    bytes_ = torch.arange(144).reshape(2, 3, 4, 6).to(torch.uint8)
    picture = bytes_ if dtype == torch.uint8 else (bytes_ / 255).to(dtype)
    assert torch.equal(_observe(_batch(picture=picture)).images["front"], bytes_)


def test_the_state_is_the_robots_then_its_surroundings_and_one_sentence_is_for_all() -> None:
    surroundings = {"observation.environment_state": torch.tensor([[5.0], [6.0]])}
    seen = _observe(_batch(state=torch.tensor([[1, 2], [3, 4]]), task="lift") | surroundings)
    assert seen.state.tolist() == [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]
    assert seen.instruction == ("lift", "lift")


def test_pictures_that_the_base_policy_does_not_see_are_left_out() -> None:
    others = {
        "observation.images.spare": torch.zeros(2, 3, 5, 5),
        "observation.images.depth": torch.full((2, 8, 8), 3.0),
    }
    assert list(_observe(_batch() | others).images) == ["front"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"state": torch.zeros(2, 4)}, r"observation.state of the shape \[2, 4\] but this policy takes \[B, 3\]"),
        ({"state": torch.zeros(3)}, r"observation.state has the shape \[3\] but .* takes \[B, 3\], one row for each"),
        ({"state": None}, r"no observation.state but this policy takes one of the shape \[B, 3\]"),
        ({"state": torch.full((2, 3), torch.nan)}, r"observation.state is not finite \(NaN or infinity\); check"),
        ({"picture": None}, r"no observation.images.front, nor any other image, but this policy sees it"),
        (
            {"picture": torch.zeros(2, 3, 8, 8)},
            r"front has the shape \[2, 3, 8, 8\] but .* on \[B, 3, 4, 6\]; .* 4 x 6 p",
        ),
        ({"picture": torch.zeros(2, 4, 6, 3)}, r"front has the shape \[2, 4, 6, 3\] but .* on \[B, 3, 4, 6\]"),
        ({"picture": torch.zeros(3, 4, 6)}, r"front has the shape \[3, 4, 6\] but .* on \[B, 3, 4, 6\]; .*each world"),
        ({"picture": torch.zeros(2, 3, 4, 6).long()}, r"front is of type torch.int64; give it as torch.uint8, or as"),
        ({"picture": torch.full((2, 3, 4, 6), 200.0)}, r"front has numbers of 200 to 200 but floats are in \[0, 1\]"),
        (
            {"picture": torch.full((2, 3, 4, 6), torch.nan)},
            r"front has numbers of nan to nan but floats are in \[0, 1\]",
        ),
        ({"state": torch.zeros(5, 3)}, r"number of worlds \(5 in observation.state, 2 in .*front, 2 in task\); give"),
        ({"task": ["a"]}, r"number of worlds \(2 in observation.state, 2 in .*front, 1 in task\); give every key"),
    ],
)
def test_a_batch_of_another_task_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        _observe(_batch(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sentences", [None, "", ["", ""], ["lift", ""]])
def test_a_batch_without_the_sentences_that_a_policy_was_steered_with_is_refused(sentences: Any) -> None:
    from lerobot_policy_dsrl.batches import taken

    told = replace(TASK, has_sentences=True)
    taken(_batch(task="lift"), told, ["front"])
    with pytest.raises(UserError, match=r"has no task but this policy reads a sentence for every world; give it those"):
        taken(_batch(task=sentences), told, ["front"])


def test_the_printed_lines_have_the_sentences_that_the_policy_reads() -> None:
    task = {"state_dim": 3, "cameras": {}}
    assert '"observation.state": state, "task": sentences})  # ' in lines("mine", {**task, "has_sentences": True})
    assert "sentences" not in lines("mine", {**task, "has_sentences": False})


def test_a_picture_of_another_name_is_named() -> None:
    misnamed = {"observation.image": torch.zeros(2, 3, 4, 6)}
    with pytest.raises(UserError, match=r"no observation.images.front, only observation.image, but this policy sees"):
        _observe(_batch(picture=None) | misnamed)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained actor for a random policy on pendulum, in chunks of 3 actions."""
    folder = tmp_path_factory.mktemp("exported")
    numbers: dict[str, Any] = {"state_mean": (0.0,) * 3, "state_std": (1.0,) * 3}
    config = replace(make_config("flow_mlp"), **numbers, action_low=(-2.0,), action_high=(2.0,))
    save_checkpoint(folder / "base", config, config.build())
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHORT_PENDULUM, "policy=flow_mlp", f"policy.path={folder / 'base'}", "horizon=3"])
    run = RunFolder(folder / "run")
    run.path.mkdir()
    run.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    run.save("best", build(cfg, print).algorithm.state_dict())
    export([f"run={run.path}", f"out={folder / 'out'}"])
    return folder / "out"


def _policy(folder: Path) -> Any:
    from lerobot_policy_dsrl.modeling_dsrl import DsrlPolicy

    return DsrlPolicy.from_pretrained(folder)


@pytest.mark.parametrize("method", ["select_action", "predict_action_chunk"])
def test_other_worlds_begin_with_a_reset(method: str, exported: Path) -> None:
    policy = _policy(exported)
    choose = getattr(policy, method)
    assert len(choose({STATE: torch.zeros(2, 3)})) == 2
    with pytest.raises(UserError, match=r"has 3 worlds but the episodes that go on are of 2; call reset\(\) before"):
        choose({STATE: torch.zeros(3, 3)})
    policy.reset()
    assert len(choose({STATE: torch.zeros(3, 3)})) == 3


def test_features_that_are_not_finite_are_refused_as_in_eval(exported: Path) -> None:
    state = torch.tensor([[0.0, 0.0, 0.0], [0.0, torch.nan, 0.0]])
    with pytest.raises(FloatingPointError, match=r"features of world \[1\] is not finite; check the task's state"):
        _policy(exported).player.chunk(Observation(state, {}, ("", "")), [0, 1], 0)


@pytest.fixture(scope="module")
def with_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained actor for a random policy that looks at two observations of pendulum, in chunks of 4 actions."""
    folder = tmp_path_factory.mktemp("history")
    base = make_tiny_diffusion(folder / "base", cameras=(), surroundings_dim=1, action_dim=1, bounds=(-2.0, 2.0))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHORT_PENDULUM, "policy=lerobot", f"policy.path={base}"])
    run = RunFolder(folder / "run")
    run.path.mkdir()
    run.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    run.save("best", build(cfg, print).algorithm.state_dict())
    export([f"run={run.path}", f"out={folder / 'out'}", "--copy-base"])
    return folder


def test_a_chunk_of_a_policy_with_a_history_is_of_the_latest_control_steps(with_history: Path) -> None:
    whole, policy = _policy(with_history / "out"), _policy(with_history / "out")
    surroundings = "observation.environment_state"
    seen = {STATE: torch.rand(2, 9, 2), surroundings: torch.rand(2, 9, 1)}
    single = [{key: value[:, t] for key, value in seen.items()} for t in range(9)]
    actions = torch.stack([whole.select_action(one) for one in single], 1)

    assert torch.equal(policy.predict_action_chunk(single[0]), actions[:, :4])
    with pytest.raises(UserError, match=r"looks at 2; give it .*\[B, 2, \.\.\.\], or call select_action in every"):
        policy.predict_action_chunk(single[4])
    assert torch.equal(policy.predict_action_chunk({key: one[:, 3:5] for key, one in seen.items()}), actions[:, 4:8])
    with pytest.raises(UserError, match=r"environment_state has the shape \[2, 1\] but this policy looks at 2 observ"):
        policy.predict_action_chunk({STATE: seen[STATE][:, 3:5], surroundings: seen[surroundings][:, 4]})
    with pytest.raises(UserError, match="predict_action_chunk got one observation of an episode that goes on"):
        whole.predict_action_chunk(single[8])


def test_an_exported_policy_is_played_on_the_base_policy_of_its_configuration_alone(
    with_history: Path, tmp_path: Path
) -> None:
    shutil.copytree(with_history, tmp_path, dirs_exist_ok=True)
    base = tmp_path / "out" / "base"
    change = {"num_inference_steps": 4}
    (base / "config.json").write_text(json.dumps({**json.loads((base / "config.json").read_text()), **change}))
    with pytest.raises(UserError, match=r"has configuration, processors and statistics with .* was steered; restore"):
        _policy(tmp_path / "out")
    steering = json.loads((tmp_path / "out" / "steering.json").read_text())
    del steering["base_configuration_sha256"]  # as exports of earlier versions
    (tmp_path / "out" / "steering.json").write_text(json.dumps(steering))
    _policy(tmp_path / "out")
