"""What a user meets at the command line: help at once, mistakes in one sentence, and a whole tiny run."""

from __future__ import annotations

import io
import json
import re
import resource
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from toys.commands import CONF, ROOT, SHORT_PENDULUM, type_command
from toys.in_process import start
from toys.requests import newest_evaluation

from dsrl.run.components.build import build
from dsrl.run.terminal.errors import UserError


def test_a_run_that_has_no_room_to_begin_ends_in_one_sentence(tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    command = [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=no_room, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: no room for .*; make room and type the command again", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


def _build_error(*overrides: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", list(overrides))
    with pytest.raises(UserError) as caught:
        build(cfg, print)
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "train.py",
            [
                "task: aloha, gym, halfcheetah",
                "sac: dsrl_edit",
                "logging: csv, none, tensorboard, wandb",
                "sac.alpha",
            ],
        ),
        ("eval.py", ["checkpoint", "run=outputs"]),
    ],
)
def test_help_shows_the_groups_and_loads_nothing_heavy(script: str, words: list[str]) -> None:
    done = type_command(script, "--help", python=("-X", "importtime"))
    assert done.returncode == 0
    assert all(word in done.stdout for word in words), done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time" in line}
    assert "hydra" in loaded
    assert not loaded & {"torch", "genesis", "lerobot", "tianshou", "wandb", "matplotlib"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["task=pendulum", "sac.alfa=1"], "sac.alfa is no option; did you mean sac.alpha?"),
        (["task=pendulums"], "task=pendulums is not known; choose one of aloha, gym, halfcheetah, "),
        (["tusk=pendulum"], "tusk is no option; did you mean task?"),
        (["policy.camera_map.front=side"], "type +policy.camera_map.front=… to add it"),
    ],
)
def test_a_wrong_key_or_choice_is_one_sentence(
    overrides: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending = str(start("train.py", *overrides, cwd=tmp_path))
    assert ending.startswith("error: ")
    assert "\n" not in ending
    assert words in ending
    assert capsys.readouterr() == ("", "")


def test_a_wrong_run_folder_is_one_sentence(tmp_path: Path) -> None:
    for run, words in ((tmp_path, "has no .hydra/config.yaml"), (tmp_path / "gone", "does not exist")):
        ending = start("eval.py", f"run={run}", cwd=tmp_path)
        assert ending == f"error: run={run} {words}; type the folder of a run of train.py"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["decisions=many"], "decisions=many must be a whole number of at least 0"),
        (["decisions=10"], "warmup_decisions=800 leaves nothing of decisions=10"),
        (["batch_size=0"], "batch_size=0 must be between 1 and 1000000"),
        (["utd=0"], "utd=0 must be above 0 and at most 1000"),
        (["+sac.alfa=1"], "sac.alfa is no option; dsrl.sac.dsrl_sac.build_dsrl_sac takes"),
        (["sac.alpha=high"], "sac.alpha"),
        (["horizon=2"], "horizon"),
        (["task=gym"], "task.id has no default; type task.id=…"),
        (["task=gym", "task.id=Nope-v7"], "Nope-v7"),
        (["task=gym", "task.id='os:Nope-v7'"], "would import os"),
        (["~task.max_steps"], "task.max_steps is missing and dsrl.task.gym.GymTask needs it; type task.max_steps=…"),
        (["~sac.gamma"], "sac.gamma is missing"),
        (["~noise.magnitude"], "noise.magnitude is missing"),
        (["~sac._target_"], "sac lacks _target_"),
        (["~noise"], "noise lacks _target_"),
        (["~seed"], "the config lacks seed"),
        (["task._target_=os.system"], "may build dsrl.task.<module>.<name> only"),
        (["validation_seed=1000050"], "share worlds"),
        (["test_seed=1073741824"], "reaches into the training worlds"),
        (["confirm_seed=536870912"], "reaches into the worlds of demonstrations"),
    ],
)
def test_what_cannot_work_is_one_sentence_before_any_simulation(overrides: list[str], sentence: str) -> None:
    task = [] if any(text.startswith("task=") for text in overrides) else ["task=pendulum"]
    message = _build_error(*task, *overrides)
    assert sentence in message
    assert "\n" not in message


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "run"
    printed = io.StringIO()
    with redirect_stdout(printed):
        ending = start("train.py", *SHORT_PENDULUM, "video_episodes=1", f"hydra.run.dir={folder}", cwd=folder.parent)
    assert ending is None
    assert f"evaluate again: python eval.py run={folder}" in printed.getvalue()
    assert "no video: this task has no camera and draws no picture" in printed.getvalue()
    return folder


def test_a_run_leaves_everything_in_its_folder(tiny_run: Path) -> None:
    for name in (".hydra/config.yaml", "metrics.csv", "metrics.jsonl", "learning_curve.png", "tensorboard"):
        assert (tiny_run / name).exists(), name
    for checkpoint in ("best", "last"):
        assert (tiny_run / "checkpoints" / checkpoint / "manifest.json").is_file()
    summary = json.loads((tiny_run / "summary.json").read_text())
    assert summary["base"] is None  # there is no base policy: noise is the action
    assert summary["steered"].keys() >= {"successes", "episodes", "success_rate", "ci95", "mean_return"}
    assert summary["steered"]["success_rate"] is None
    assert summary["decisions"] == summary["env_steps"] == 120
    assert summary["policy_sha256"] == {"before": None, "after": None}
    assert summary["packages"]["torch"]


def test_eval_reproduces_the_run_and_takes_overrides(tiny_run: Path) -> None:
    assert start("eval.py", f"run={tiny_run}", cwd=tiny_run.parent) is None
    summary = json.loads((tiny_run / "summary.json").read_text())
    assert newest_evaluation(tiny_run)["result"] == summary["steered"]
    changed = (f"run={tiny_run}", "checkpoint=none", "eval_episodes=3", "test_seed=7")
    assert start("eval.py", *changed, cwd=tiny_run.parent) is None
    assert newest_evaluation(tiny_run)["worlds"]["seeds"] == [7, 8, 9]
