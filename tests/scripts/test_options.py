"""Command lines of all scripts: help without heavy imports, and wrong options in one sentence before any work."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from toys.commands import typed_into_a_closed_pipe

from dsrl.run.terminal.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    "benchmark",
    "collect_demos",
    "collect_rollouts",
    "compare",
    "crash_test",
    "doctor",
    "medium_base",
    "official",
    "official.compare",
    "preflight",
    "pretrain",
    "pretrain.ground",
    "readme_video",
    "startup",
)
HEAVY = ("torch", "lerobot", "genesis", "tianshou", "wandb", "matplotlib", "hydra", "av", "PIL")
RUN = """
import runpy, sys
sys.argv = ["x", *sys.argv[2:]]
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=False)
finally:
    loaded = [name for name in {heavy!r} if name in sys.modules]
    assert not loaded, loaded
"""

MLP = ["--policy", "flow_mlp", "--dataset", "data/x", "--out", "new"]
WRONG = [
    ("benchmark", ["--repeats", "0"]),
    ("benchmark", ["--rounds", "-1"]),
    ("collect_demos", []),
    ("collect_demos", ["--out", "FOLDER"]),
    ("collect_demos", ["--out", "FILE/new"]),
    ("collect_demos", ["--out", "new", "--episodes", "0"]),
    ("collect_demos", ["--out", "new", "--num-envs", "1e9"]),
    ("collect_demos", ["--out", "new", "--image-size", "4"]),
    ("collect_demos", ["--out", "new", "--seed", "-1"]),
    ("collect_demos", ["--out", "new", "--sloppiness", "nan", "0"]),
    ("collect_demos", ["--out", "new", "--sloppiness", "0.1", "-0.1"]),
    ("collect_demos", ["--out", "new", "--task", "pendulum"]),
    ("benchmark", ["utd=abc"]),
    ("benchmark", ["--only", "machine", "suite=push_v3", "suite=hopper"]),
    ("collect_expert", []),
    ("collect_expert", ["--out", "FOLDER"]),
    ("collect_expert", ["--out", "FILE/new"]),
    ("collect_expert", ["--out", "new", "--episodes", "0"]),
    ("collect_expert", ["--out", "new", "--episodes", "1e99"]),
    ("collect_expert", ["--out", "new", "--noise", "nan"]),
    ("collect_expert", ["--out", "new", "--noise", "-0.1"]),
    ("collect_expert", ["--out", "new", "--observation", "video"]),
    ("collect_expert", ["--out", "new", "--image-size", "99999"]),
    ("collect_expert", ["--out", "new", "--num-envs", "true"]),
    ("collect_expert", ["--out", "new", "--seed", "-1"]),
    ("collect_expert", ["--out", "new", "--name", "fly-v3"]),
    ("collect_expert", ["--out", "new", "--name", "../secret"]),
    ("collect_rollouts", ["--out", "FILE"]),
    ("collect_rollouts", ["--out", "new", "polcy.path=x"]),
    ("collect_rollouts", ["--out", "new", "num_envs=nan"]),
    ("collect_rollouts", ["--out", "new", "task=fly"]),
    ("collect_rollouts", ["--out", "new", "task=pendulum", "task=hopper"]),
    ("collect_rollouts", ["--out", "new", "policy.path=nowhere"]),
    ("collect_rollouts", ["--out", "new", "plugins=[nowhere]"]),
    ("collect_rollouts", ["--out", "new", "--episodes", "many"]),
    ("compare", []),
    ("compare", ["nowhere/*"]),
    ("compare", ["FOLDER"]),
    ("compare", ["FOLDER", "--measure", "speed"]),
    ("compare", ["FOLDER", "--out", "FILE"]),
    ("crash_test", ["--kills", "-1"]),
    ("crash_test", ["kills=40"]),
    ("crash_test", ["--seed", "x"]),
    ("crash_test", ["--task", "hopper"]),
    ("crash_test", ["--kills", "0", "--kills-only"]),
    ("doctor", ["now"]),
    ("export", []),
    ("export", ["run=FOLDER"]),
    ("export", ["run=FOLDER", "out=FOLDER"]),
    ("export", ["run=FOLDER", "out=FILE/new"]),
    ("export", ["run=FOLDER", "out=new"]),
    ("export", ["run=nowhere", "out=new"]),
    ("export", ["run=FOLDER", "out=new", "checkpoint=resume"]),
    ("export", ["run=FOLDER", "out=new", "plugins=[nowhere]"]),
    ("export", ["run=FOLDER", "out=new", "--push"]),
    ("medium_base", ["--task", "pendulum", "--out", "new"]),
    ("medium_base", ["--task", "hopper", "--out", "FILE"]),
    ("medium_base", ["--task", "hopper", "--out", "new", "--target", "0"]),
    ("medium_base", ["--task", "hopper", "--out", "new", "--target", "inf"]),
    ("medium_base", ["--task", "hopper", "--out", "new", "--steps", "0"]),
    ("medium_base", ["--task", "hopper", "--out", "new", "--hidden", "99999999"]),
    ("official", ["--fork", "nowhere", "--out", "new.csv"]),
    ("official", ["--fork", "FOLDER", "--out", "nowhere/new.csv"]),
    ("official", ["--fork", "FOLDER", "--out", "new.csv", "--warmup-decisions", "12000"]),
    ("official.compare", ["--x", "steps"]),
    ("official.compare", ["--official", "nowhere.csv"]),
    ("official.compare", []),
    ("official.compare", ["--scale", "0"]),
    ("official.compare", ["--marks", "-1"]),
    ("official.compare", ["--out", "FOLDER"]),
    ("preflight", ["--draws", "0"]),
    ("preflight", ["--draws", "1.5"]),
    ("preflight", ["--other-draws", "-2"]),
    ("preflight", ["--success-return", "nan"]),
    ("preflight", ["sac.gamma=2"]),
    ("preflight", ["validation_episodes=1e99"]),
    ("preflight", ["task=pendulum"]),
    ("preflight", ["--out", "FILE"]),
    ("pretrain", ["--policy", "act"]),
    ("pretrain", ["--out", "new", "--dataset", "data/x"]),
    ("pretrain", ["--out", "new", "--dataset", "data/x", "--init", "x", "--cache-prefix", "--train", "all"]),
    ("pretrain", ["--out", "new", "--dataset", "data/x", "--init", "small"]),
    ("pretrain", ["--out", "new", "--dataset", "data/x", "--init", "x", "--chunk", "8"]),
    ("pretrain", [*MLP, "--rate", "0"]),
    ("pretrain", [*MLP, "--rate", "2"]),
    ("pretrain", [*MLP, "--batch", "0"]),
    ("pretrain", [*MLP, "--held-out", "1"]),
    ("pretrain", [*MLP, "--chunk", "0"]),
    ("pretrain", [*MLP, "--train-steps", "5"]),
    ("pretrain", [*MLP[:4], "--out", "FOLDER"]),
    ("pretrain", [*MLP[:4], "--out", "FILE/new"]),
    ("pretrain", [*MLP[:4], "--out", "n" * 300]),
    ("collect_demos", ["--out", "n" * 300]),
    ("collect_expert", ["--out", "n" * 300]),
    ("collect_rollouts", ["--out", f"FOLDER/{'n' * 300}/new"]),
    ("pretrain", [*MLP, "--steps", "nan"]),
    ("pretrain", ["--policy", "diffusion", *MLP[2:], "--device", "tpu"]),
    ("pretrain", ["--policy", "diffusion", *MLP[2:], "--device", "cuda:99999"]),
    ("pretrain", ["--policy", "diffusion", *MLP[2:], "--horizon", "12"]),
    ("pretrain", ["--policy", "diffusion", *MLP[2:], "--chunk", "99"]),
    ("pretrain", ["--policy", "diffusion_mlp", *MLP[2:], "--num-steps", "30"]),
    ("pretrain.ground", ["--out", "new", "--init", "FOLDER"]),
    ("pretrain.ground", ["--out", "new", "--scenes", "3"]),
    ("readme_video", ["nowhere.mp4", "--out", "new.gif"]),
    ("readme_video", ["FILE", "--out", "new.gif"]),
    ("readme_video", ["FILE", "--out", "FOLDER"]),
    ("readme_video", ["FILE", "--out", "new.gif", "--width", "0"]),
    ("startup", ["--pairs", "0"]),
    ("startup", ["pairs=7"]),
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_printed_without_heavy_imports(name: str) -> None:
    script = RUN.format(module=f"scripts.{name}", heavy=HEAVY)
    command = [sys.executable, "-c", script, "--", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m scripts.{name}")
    assert f"python -m scripts.{name}" in done.stdout.partition("\n\n")[2] or name == "doctor"


def test_help_that_nobody_reads_ends_without_a_word() -> None:
    assert typed_into_a_closed_pipe("scripts.compare", "--help") == (0, "")


@pytest.mark.parametrize(("name", "arguments"), WRONG, ids=[f"{name} {' '.join(words)}" for name, words in WRONG])
def test_wrong_options_end_in_one_sentence(
    name: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    (tmp_path / "FOLDER").mkdir()
    try:
        module = import_module(f"scripts.{name}.__main__")
    except ModuleNotFoundError:
        module = import_module(f"scripts.{name}")
    with pytest.raises(SystemExit) as ended:
        module.main(arguments)
    sentence = str(ended.value.code) if isinstance(ended.value.code, str) else capsys.readouterr().err
    assert ended.value.code not in (0, None)
    assert sentence.startswith("error: ")
    assert len(sentence.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_old_spelling_of_an_option_names_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.crash_test.__main__ import main

    with pytest.raises(SystemExit):
        main(["kills=40", "seed=1"])
    assert capsys.readouterr().err == "error: kills=40 is no option; type --kills 40\n"


@pytest.mark.parametrize("flag", [["--config-dir", "conf"], ["--config-dir=conf"]])
def test_a_folder_of_configs_has_the_key_that_a_script_takes(
    flag: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from scripts._parts import composed
    from scripts.collect_rollouts import main

    with pytest.raises(SystemExit):
        main([*flag, "task=own", "--out", str(tmp_path / "new")])
    error = capsys.readouterr().err
    assert error == "error: --config-dir is of train.py and eval.py; type 'hydra.searchpath=[file:///path/of/folder]'\n"
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "own.yaml").write_text("defaults: [pendulum]\nmax_steps: 11\n", encoding="utf-8")
    assert composed(["task=own", f"hydra.searchpath=[file://{tmp_path}]"]).task.max_steps == 11


def test_packages_that_only_a_file_names_are_refused_by_scripts_too(tmp_path: Path) -> None:
    from scripts._parts import composed

    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "sent.yaml").write_text("# @package _global_\nplugins: [yaml]\n", encoding="utf-8")
    words = ["experiment=sent", f"hydra.searchpath=[file://{tmp_path}]"]
    with pytest.raises(UserError, match=r"^plugins=\[yaml\] stands in a file; type it on the command line, or remove"):
        composed(words)
    assert composed([*words, "plugins=[yaml]"]).plugins == ["yaml"]


@pytest.mark.parametrize("dataset", ["/nowhere", "FOLDER", "a/b/c"])
def test_a_dataset_that_is_missing_is_one_sentence(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.pretrain.__main__ import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    with pytest.raises(SystemExit, match=f"^error: --dataset {dataset} .*; type"):
        main(["--policy", "flow_mlp", "--dataset", dataset, "--out", "new"])
