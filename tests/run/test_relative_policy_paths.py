"""A run whose policy.path was typed relative to a folder is evaluated, exported and continued like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from toys.mlp_checkpoints import make_config
from toys.requests import newest_evaluation
from toys.typed import type_eval, type_train

from dsrl.policy._mlp_checkpoint import save_checkpoint
from dsrl.run.saved.policy_path import find_policy
from scripts.export.__main__ import main as export

TYPED = ("policy=flow_mlp", "policy.path=mypol", "confirm_episodes=0", "horizon=3")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy, and a short run that was typed there."""
    folder = tmp_path_factory.mktemp("home")
    normal = {"state_mean": (0.0, 0.0, 0.0), "state_std": (1.0, 1.0, 4.0)}
    config = replace(make_config("flow_mlp"), **normal, action_low=(-2.5,), action_high=(2.5,))  # type: ignore[arg-type]
    save_checkpoint(folder / "mypol", config, config.build())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert type_train(folder / "run", *TYPED) is None
    return folder


def test_it_is_evaluated_and_exported_from_another_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mypol").mkdir()  # another one of that name, which the run did not steer
    assert type_eval(f"run={home / 'run'}") is None
    assert "path: mypol" in newest_evaluation(home / "run")["config"]
    export([f"run={home / 'run'}", f"out={tmp_path / 'out'}"])
    assert f'"path": "{home / "mypol"}"' in (tmp_path / "out" / "steering.json").read_text()


def test_the_same_command_finds_that_the_run_has_finished(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    assert type_train(home / "run", *TYPED) is None
    assert "finished before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mypol", "{home}/mypol"),
        ("../{name}/mypol", "{home}/../{name}/mypol"),
        ("{home}/mypol", "{home}/mypol"),
        ("gone", "gone"),
        ("a" * 300, "a" * 300),  # longer than a name can be
        ("owner/hub_id", "owner/hub_id"),
        ("hopper/diffusion_mlp", "hopper/diffusion_mlp"),  # bundled
        ("./hopper/diffusion_mlp", "{home}/hopper/diffusion_mlp"),
        ("mine/flow_mlp", "{home}/mine/flow_mlp"),
    ],
)
def test_only_a_local_path_that_is_still_there_becomes_absolute(path: str, expected: str, tmp_path: Path) -> None:
    for name in ("mypol", "hopper/diffusion_mlp", "mine/flow_mlp"):
        (tmp_path / name).mkdir(parents=True)
    notes = tmp_path / "hydra.yaml"
    notes.write_text(yaml.safe_dump({"hydra": {"runtime": {"cwd": str(tmp_path)}}}))
    places = {"home": str(tmp_path), "name": tmp_path.name}
    node = _Node(path=path.format(**places))
    find_policy(node, notes)
    assert node.path == expected.format(**places)


def test_a_folder_that_would_be_a_reference_is_refused(tmp_path: Path) -> None:
    (tmp_path / "${oc.env:HOME}" / "mypol").mkdir(parents=True)
    notes = tmp_path / "hydra.yaml"
    notes.write_text(yaml.safe_dump({"hydra": {"runtime": {"cwd": str(tmp_path / "${oc.env:HOME}")}}}))
    with pytest.raises(ValueError, match=r"policy.path would be '.*mypol', and a config refers .*; rename that folder"):
        find_policy(_Node(path="mypol"), notes)


@pytest.mark.parametrize("text", [None, "hydra: [", "hydra: 5", *(f"hydra: {{runtime: {{cwd: {x}}}}}" for x in "5.")])
def test_without_that_note_the_path_stays_as_it_was_typed(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "hydra.yaml").write_text(text)
    node = _Node(path="tests")
    find_policy(node, tmp_path / "hydra.yaml")
    find_policy(_Node(), tmp_path / "hydra.yaml")  # a policy without a path
    assert node.path == "tests"


class _Node(SimpleNamespace):
    """The config of a policy."""

    def get(self, name: str) -> object:
        return getattr(self, name, None)
