"""Exporting a run, and loading an exported policy, that somebody else sent: refused in one sentence, nothing leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from toys.mlp_checkpoints import make_config
from toys.typed import type_train

from dsrl.policy._mlp_checkpoint import save_checkpoint
from dsrl.run.components.build import build
from dsrl.run.config.settings import saved_config
from dsrl.run.exported import ExportedPolicy
from dsrl.run.terminal.errors import UserError
from scripts.export import folder as exporting
from scripts.export.__main__ import main as export

SECRET = "a-secret-of-the-user"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on pendulum under a random policy, which lies beside it."""
    folder = tmp_path_factory.mktemp("run")
    config = replace(
        make_config("flow_mlp"),
        state_mean=(0.0, 0.0, 0.0),
        state_std=(1.0, 1.0, 4.0),
        action_low=(-2.5,),
        action_high=(2.5,),
    )
    save_checkpoint(folder / "base", config, config.build())
    (folder / "base" / "train_config.json").write_text('{"output_dir": "/home/somebody"}')
    typed = ("policy=flow_mlp", f"policy.path={folder / 'base'}", "confirm_episodes=0", "horizon=3")
    assert type_train(folder / "run", *typed) is None
    return folder / "run"


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    export([f"run={run}", f"out={run.parent / 'exported'}", "--copy-base"])
    return run.parent / "exported"


def test_the_folders_of_whoever_trained_the_base_policy_are_not_exported(exported: Path) -> None:
    assert (exported / "base" / "config.json").is_file()
    assert not list(exported.rglob("train_config.json"))


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        ExportedPolicy(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 900
    assert SECRET not in sentence
    return sentence


def test_the_copy_itself_is_loaded(copy: Path) -> None:
    assert ExportedPolicy(copy).horizon == 3


CONTENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version": lambda content: content.update(version=2),
    "no policy": lambda content: content.pop("policy"),
    "a word as policy": lambda content: content.update(policy="flow_mlp"),
    "other code": lambda content: content["policy"].update(_target_="os.system"),
    "code of a plugin": lambda content: content["policy"].update(_target_="planted.policy.mine.Mine"),
    "plugins": lambda content: content["policy"].update(_target_="planted.policy.mine.Mine", plugins=["planted"]),
    "code of another group": lambda content: content["noise"].update(_target_="dsrl.task.gym.GymTask"),
    "environment": lambda content: content["policy"].update(path="${oc.env:DSRL_SECRET}"),
    "environment in a device": lambda content: content["policy"].update(device="${oc.env:DSRL_SECRET}"),
    "no path": lambda content: content.update(copied=False, policy={**content["policy"], "path": None}),
    "no such path": lambda content: content.update(copied=False, policy={**content["policy"], "path": "/nowhere/x"}),
    "a number as path": lambda content: content["policy"].update(path=3),
    "horizon": lambda content: content.update(horizon=10**9),
    "horizon above the chunk": lambda content: content.update(horizon=9),
    "a word as horizon": lambda content: content.update(horizon="3"),
    "first_seed": lambda content: content.update(first_seed=-1),
    "best_of": lambda content: content.update(best_of=10**12),
    "copied": lambda content: content.update(copied="yes"),
    "sha": lambda content: content.update(base_sha256="0" * 64),
    "sha of nothing": lambda content: content.update(base_sha256=None),
    "configuration": lambda content: content.update(base_configuration_sha256="0" * 64),
    "backbone": lambda content: content.update(base_backbone_sha256="0" * 64),
    "a number as backbone": lambda content: content.update(base_backbone_sha256=3),
    "a number as configuration": lambda content: content.update(base_configuration_sha256=3),
    "bounds": lambda content: content.update(action_low=[1.0, 2.0]),
    "words as bounds": lambda content: content.update(action_low=["a"]),
    "nan in bounds": lambda content: content.update(action_low=[float("nan")]),
    "no task": lambda content: content.update(task={}),
    "an unknown key in the task": lambda content: content["task"].update(reset="os.system"),
    "sizes": lambda content: content["task"].update(state_dim=10**9),
    "other sizes": lambda content: content["task"].update(state_dim=7),
    "cameras": lambda content: content["task"].update(cameras={"front": [3, 10**9, 10**9]}),
    "cameras of two numbers": lambda content: content["task"].update(cameras={"front": [3, 4]}),
    "no state": lambda content: content.pop("state"),
    "a word as state": lambda content: content.update(state="all"),
    "an empty state": lambda content: content.update(state={"dict": []}),
    "a lost tensor": lambda content: content.update(state={"tensor": "../../secret"}),
    "a deep state": lambda content: content.update(state=_deep("list")),
    "a deep policy": lambda content: content["policy"].update(num_steps=_deep("a")),
    "hidden": lambda content: content["sac"].update(hidden=10**9),
    "an unknown option": lambda content: content["sac"].update(hook="os.system"),
}


def test_a_folder_that_would_be_a_reference_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSRL_SECRET", SECRET)
    assert "rename that folder" in _refusal(copy.rename(copy.parent / "${oc.env:DSRL_SECRET}"))


def _deep(key: str) -> Any:
    node: Any = 1
    for _ in range(400):
        node = {key: [node]}
    return node


@pytest.mark.parametrize("change", CONTENT)
def test_what_no_export_describes_is_refused(change: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSRL_SECRET", SECRET)
    content = json.loads((copy / "steering.json").read_text())
    CONTENT[change](content)
    (copy / "steering.json").write_text(json.dumps(content))
    _refusal(copy)


FILES: dict[str, Callable[[Path], Any]] = {
    "no steering": lambda folder: (folder / "steering.json").unlink(),
    "cut": lambda folder: (folder / "steering.json").write_text((folder / "steering.json").read_text()[:99]),
    "deep": lambda folder: (folder / "steering.json").write_text("[" * 100_000),
    "a list": lambda folder: (folder / "steering.json").write_text("[]"),
    "a pipe": lambda folder: ((folder / "steering.json").unlink(), os.mkfifo(folder / "steering.json")),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "cut weights": lambda folder: os.truncate(folder / "model.safetensors", 200),
    "a pipe as weights": lambda folder: (
        (folder / "model.safetensors").unlink(),
        os.mkfifo(folder / "model.safetensors"),
    ),
    "not finite": lambda folder: _edit(folder, lambda one: one.float() * torch.nan),
    "other shapes": lambda folder: _edit(folder, lambda one: torch.zeros(3)),
    "other base": lambda folder: _edit(folder / "base", lambda one: one + 1),
    "no base": lambda folder: shutil.rmtree(folder / "base"),
    "base that leads out": lambda folder: (
        (folder / "base" / "config.json").rename(folder.parent / "elsewhere"),
        (folder / "base" / "config.json").symlink_to(folder.parent / "elsewhere"),
    ),
}


def _edit(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = folder / "model.safetensors"
    save_file({name: change(tensor).contiguous() for name, tensor in load_file(file).items()}, file)


@pytest.mark.parametrize("damage", FILES)
def test_damaged_files_are_refused(damage: str, copy: Path) -> None:
    FILES[damage](copy)
    _refusal(copy)


@pytest.mark.parametrize("file", ["policy_preprocessor.json", "policy_postprocessor.json"])
@pytest.mark.parametrize(
    "step",
    [
        {"registry_name": "action_tokenizer_processor", "config": {"action_tokenizer_name": "planted"}},
        {"registry_name": "device_processor", "config": {"device": "cpu", "hook": "planted.Step"}},
        {"registry_name": "device_processor", "class": "planted.Step"},
        {"registry_name": "device_processor", "state_file": "x.safetensors"},
        {"class": "planted.Step"},
        "planted.Step",
    ],
    ids=str,
)
def test_processors_that_lerobot_would_run_are_refused(step: Any, file: str, copy: Path) -> None:
    content = json.loads((copy / file).read_text())
    content["steps"].append(step)
    (copy / file).write_text(json.dumps(content))
    assert file in _refusal(copy)


def test_a_base_policy_whose_links_lead_out_is_not_copied(run: Path, tmp_path: Path) -> None:
    sent = shutil.copytree(run.parent, tmp_path / "sent")
    (tmp_path / "secret.json").write_text(SECRET)
    (sent / "base" / "more.json").symlink_to(tmp_path / "secret.json")
    config = (sent / "run" / "checkpoints" / "config.yaml").read_text()
    assert str(run.parent) in config
    (run.parent / "base" / "more.json").symlink_to(tmp_path / "secret.json")
    try:
        with pytest.raises(SystemExit, match="which leads out of the checkpoint's folder"):
            export([f"run={run}", f"out={tmp_path / 'out'}", "--copy-base"])
    finally:
        (run.parent / "base" / "more.json").unlink()
    assert not list(tmp_path.glob("out*"))


def test_a_base_policy_in_a_folder_of_the_user_is_pushed_only_as_a_copy(run: Path, tmp_path: Path) -> None:
    sentence = f"would publish the path {run.parent / 'base'} in place of .*; type --copy-base too"
    with pytest.raises(SystemExit, match=sentence):
        export([f"run={run}", f"out={tmp_path / 'out'}", "--push=me/mine"])
    assert not list(tmp_path.glob("out*"))


def test_a_copy_of_the_base_policy_leaves_no_path_of_this_machine_beside_it(copy: Path, run: Path) -> None:
    texts = [(copy / name).read_text() for name in ("steering.json", "config.json")]
    assert not any(str(run.parent) in text for text in texts)
    saved = saved_config(run, "run", [])
    parts = build(saved, print)
    parts = replace(parts, settings=replace(parts.settings, offline_data="/home/me/demonstrations"))
    for copied, named in ((True, "demonstrations"), (False, "/home/me/demonstrations")):
        assert exporting._steering(saved, parts, copied=copied)["settings"]["offline_data"] == named


def test_an_export_leaves_a_folder_of_the_user_beside_it_alone(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out.partial"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    export([f"run={run}", f"out={tmp_path / 'out'}"])
    assert (mine / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.partial"]


def test_a_run_that_returned_its_base_policy_exports_the_steered_one_only_where_it_is_typed(
    run: Path, tmp_path: Path
) -> None:
    sent = shutil.copytree(run, tmp_path / "run")
    summary = json.loads((sent / "summary.json").read_text())
    (sent / "summary.json").write_text(json.dumps({**summary, "returned": "base"}))
    with pytest.raises(SystemExit, match="returned its base policy; type checkpoint=best to export the steered one"):
        export([f"run={sent}", f"out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()
    export([f"run={sent}", f"out={tmp_path / 'out'}", "checkpoint=best"])
    assert "did not confirm that steering helps" in (tmp_path / "out" / "README.md").read_text()


SUMMARIES: dict[str, Any] = {
    "no numbers": {"base": {}, "steered": {"success_rate": "high"}},
    "words": {"base": "good", "steered": "better", "paired": "yes"},
    "an interval of words": {"steered": {"mean_return": 1, "episodes": 2, "success_rate": 0.5, "ci95": ["a", None]}},
    "no p value": {"paired": {"p_value": "small"}},
}


@pytest.mark.parametrize("change", SUMMARIES)
def test_the_card_of_a_foreign_run_has_dashes_where_numbers_are_missing(change: str, run: Path, tmp_path: Path) -> None:
    sent = shutil.copytree(run, tmp_path / "run")
    summary = json.loads((sent / "summary.json").read_text())
    (sent / "summary.json").write_text(json.dumps({**summary, **SUMMARIES[change]}))
    overrides = ["seed=0", "x=`a`\n---\nlicense: none", 3, None, "policy.camera_map={a: b}", 'y="/my dir/données"']
    (sent / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    export([f"run={sent}", f"out={tmp_path / 'out'}"])
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    quoted = """'x=a---license: none' 3 None 'policy.camera_map={a: b}' 'y="/my dir/données"'"""
    assert f"    python train.py seed=0 {quoted}\n" in card
    assert card.count("\n---\n") == 1


@pytest.mark.parametrize(
    "text", ["a: b", "[" * 9999, "- !!python/name:os.system", "- &a [1]\n- *a\n", "- '\n", "- {? [a] : b}"]
)
def test_overrides_that_no_run_wrote_are_one_sentence(text: str, run: Path, tmp_path: Path) -> None:
    sent = shutil.copytree(run, tmp_path / "run")
    (sent / ".hydra" / "overrides.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"error: .*overrides\.yaml is damaged \(.*; restore it, or name another run"):
        export([f"run={sent}", f"out={tmp_path / 'out'}"])
    assert not list(tmp_path.glob("out*"))


def test_numbers_of_a_changed_summary_are_left_out_of_the_card(run: Path, tmp_path: Path) -> None:
    sent = shutil.copytree(run, tmp_path / "sent")
    summary = json.loads((sent / "summary.json").read_text())
    changed = {"mean_return": 10**400, "episodes": 5, "success_rate": float("nan"), "ci95": [10**400, "x"]}
    summary |= {"steered": changed, "paired": {"p_value": 10**400}}
    (sent / "summary.json").write_text(json.dumps(summary))
    export([f"run={sent}", f"out={tmp_path / 'out'}"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| steered | not evaluated | - | - | - |" in card
    assert "were not compared" in card
