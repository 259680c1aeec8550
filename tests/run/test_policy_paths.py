"""A missing or wrong checkpoint is told before the task is built: a task that is wrong too is told only after."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from toys.commands import ROOT
from toys.mlp_checkpoints import make_mlp_checkpoint
from toys.typed import type_train

import dsrl.policy
from dsrl.policy import _find, check_path, lerobot
from dsrl.policy.flow_mlp import FlowMLP
from dsrl.run.components.parts import ChecksPath, ChecksPaths

WRONG_TASK = "task=gym task.id=Nowhere-v0"  # found when the task is built


def _type(folder: Path, policy: str, path: object) -> str:
    typed = (*WRONG_TASK.split(), f"policy={policy}", f"policy.path={path}")
    return str(type_train(folder / "run", *typed, start=()))


@pytest.mark.parametrize("policy", ["lerobot", "smolvla", "pi0", "flow_mlp", "diffusion_mlp"])
def test_a_path_without_a_checkpoint_is_told_before_the_task_is_built(policy: str, tmp_path: Path) -> None:
    assert _type(tmp_path, policy, "nowhere").startswith("error: policy.path=nowhere is not a folder")


@pytest.mark.parametrize(
    ("policy", "content", "sentence"),
    [
        ("lerobot", {"type": "act"}, "is of type 'act', which draws no Gaussian noise"),
        ("smolvla", {"type": "pi0"}, "is a lerobot checkpoint of type 'pi0' but policy=smolvla loads 'smolvla' only"),
        ("flow_mlp", {"policy": "diffusion_mlp"}, "is of kind 'diffusion_mlp' but policy=flow_mlp loads 'flow_mlp'"),
        ("flow_mlp", {"policy": "diffusion_mlp"}, "only; type policy=diffusion_mlp"),
        ("flow_mlp", {"type": "diffusion"}, "is of kind 'diffusion' but policy=flow_mlp loads 'flow_mlp' only"),
        ("flow_mlp", {"type": "diffusion"}, "only; type policy=lerobot"),
        ("diffusion_mlp", {"type": "act"}, "only; give policy.path a checkpoint of kind diffusion_mlp"),
        ("smolvla", {"type": "pi0"}, "'smolvla' only; type policy=lerobot, or give policy.path a smolvla checkpoint"),
        ("smolvla", {"type": "act"}, "'smolvla' only; give policy.path a smolvla checkpoint"),
    ],
)
def test_a_checkpoint_of_another_kind_is_told_before_the_task_is_built(
    policy: str, content: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    for name in _find.CHECKPOINT_FILES:
        (tmp_path / name).write_text(json.dumps(content))
    assert sentence in _type(tmp_path, policy, tmp_path)


def test_a_folder_that_lacks_files_is_told_before_the_task_is_built(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for policy, lacking in (("lerobot", "model.safetensors, policy_preprocessor.json"), ("flow_mlp", "model.safete")):
        assert f"policy.path={tmp_path} lacks {lacking}" in _type(tmp_path, policy, tmp_path)


@pytest.mark.parametrize("policy", ["lerobot", "smolvla"])
@pytest.mark.parametrize("kind", ["flow_mlp", "diffusion_mlp"])
def test_the_checkpoint_of_an_mlp_names_the_policy_that_loads_it(policy: str, kind: str, tmp_path: Path) -> None:
    folder = make_mlp_checkpoint(tmp_path / "mine", kind)
    assert f"error: policy.path={folder} is not of lerobot but of scripts/pretrain; type policy={kind}" in (
        _type(tmp_path, policy, folder)
    )


def test_a_bundled_mlp_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    assert "is not of lerobot but of scripts/pretrain; type policy=diffusion_mlp" in (
        _type(tmp_path, "lerobot", "hopper/diffusion_mlp")
    )


def test_a_hub_id_that_cannot_be_downloaded_is_told_before_the_task_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(_find, "snapshot_download", no_network)
    assert "nobody/nothing is not a folder here and could not be downl" in _type(tmp_path, "lerobot", "nobody/nothing")


def test_classes_of_lerobot_are_refused_a_path_without_importing_lerobot() -> None:
    program = (
        "import sys, dsrl.policy\n"
        "for target in sys.argv[1:]:\n"
        "    try: dsrl.policy.check_path(target, 'nowhere')\n"
        "    except FileNotFoundError as error: print(str(error)[:35], 'lerobot' in sys.modules)"
    )
    targets = [f"dsrl.policy.{name}" for name, _, _ in lerobot.CLASSES.values()] + ["dsrl.policy.lerobot.load_policy"]
    done = subprocess.run(
        [sys.executable, "-c", program, *targets], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["policy.path=nowhere is not a folder False"] * len(targets)


def test_the_task_is_told_where_the_path_is_right_or_the_policy_has_none(tmp_path: Path) -> None:
    wrong = "task.id='Nowhere-v0' cannot be made by gymnasium"
    assert wrong in _type(tmp_path, "flow_mlp", make_mlp_checkpoint(tmp_path / "good", "flow_mlp"))
    assert wrong in str(type_train(tmp_path / "run", *WRONG_TASK.split(), "policy=identity", start=()))


def test_the_early_sentence_is_the_very_one_of_loading(tmp_path: Path) -> None:
    for check, load in (
        (FlowMLP.check_path, lambda: FlowMLP("nowhere", "cpu")),
        (
            partial(check_path, "dsrl.policy.lerobot.load_policy"),
            lambda: lerobot.load_policy("nowhere", "cpu", "checkpoint"),
        ),
    ):
        with pytest.raises(FileNotFoundError) as early:
            check("nowhere")
        with pytest.raises(FileNotFoundError) as late:
            load()
        assert str(early.value) == str(late.value)


def test_a_class_of_policies_or_its_package_has_the_check() -> None:
    assert isinstance(dsrl.policy, ChecksPaths)
    assert isinstance(FlowMLP, ChecksPath)


@pytest.mark.parametrize("name", ["push", "Push-V3", "xyz", "../push-v3"])
def test_a_name_that_metaworld_lacks_is_told_before_the_policy_that_follows_from_it(name: str, tmp_path: Path) -> None:
    said = str(type_train(tmp_path / "run", "task=metaworld", f"task.name={name}", start=()))
    assert said.startswith(f"error: task.name={name} is no MetaWorld task; type one of its 50, such as ")


def test_a_metaworld_task_without_a_bundled_policy_names_the_commands_that_make_one(tmp_path: Path) -> None:
    typed = ("task=metaworld", "task.name=door-open-v3")
    said = str(type_train(tmp_path / "run", *typed, start=()))
    assert said.startswith(
        "error: task=metaworld has a bundled policy for pick-place-v3 and push-v3 and none for task.name=door-open-v3; "
        "make one by `python -m scripts.collect_expert --name door-open-v3 --out data/door-open-v3` and "
    )
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert said.split("`")[3] in page
    assert said.rpartition("type ")[2] in page
    said = str(type_train(tmp_path / "run", *typed, "policy.path=nowhere", start=()))
    assert said.startswith("error: policy.path=nowhere is not a folder and not a bundled policy")
