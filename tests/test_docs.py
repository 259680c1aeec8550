"""The documentation: README is short, links resolve, and the worked examples of docs/extending.md run."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
OWN = EXAMPLES / "my_point"  # docs/own_environment.md
PACKAGE = ROOT / "docs" / "template" / "my_robot"  # docs/packages.md names files of it
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "dsrl").rglob("README.md")), *sorted((ROOT / "scripts").rglob("README.md"))]
PICTURE = ROOT / "docs" / "images" / "base_vs_steered.gif"
FILE = re.compile(r"`((?:dsrl|conf|docs|hydra_plugins|scripts|tests)/[^`\s]*)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CHOSEN = ("task=reach", "policy=my_flow", "policy.path=my_flow.safetensors")
TINY = (
    "num_envs=8",
    "decisions=160",
    "warmup_decisions=80",
    "batch_size=16",
    "critic_warmup_updates=5",
    "eval_every=160",
    "eval_episodes=8",
    "validation_episodes=4",
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_readme_is_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("#")]
    files = [(page.parent / target.partition("#")[0]).resolve() for target in targets]
    assert not [str(file) for file in files if not file.exists()]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    names = [name for name in FILE.findall(page.read_text()) if "<" not in name and "*" not in name]
    assert not [name for name in names if not any((folder / name).exists() for folder in (ROOT, EXAMPLES, PACKAGE))]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_rows_of_a_table_are_below_its_head(page: Path) -> None:
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert not [block for block in blocks if not re.match(r".*\n\|[-:| ]+\|\n", block)]


def test_the_moving_picture_is_at_most_2_mb() -> None:
    assert PICTURE.stat().st_size <= 2 * 2**20


@pytest.mark.parametrize("example", sorted(EXAMPLES.rglob("*.*")), ids=_name)
def test_an_example_is_short_and_shown_on_the_page(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 60
    page = "own_environment.md" if example.is_relative_to(OWN) else "extending.md"
    assert f'"{example.relative_to(EXAMPLES)}"' in (ROOT / "docs" / page).read_text()


def _texts_of_the_code() -> str:
    """Return all strings of the code, with `…` for the values in them."""
    found = []
    for path in [path for room in ("dsrl", "hydra_plugins", "scripts") for path in (ROOT / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    rows = [line.split(" | ")[0] for line in (ROOT / "docs" / "troubleshooting.md").read_text().splitlines()]
    messages = [message for row in rows if row.startswith("| ") for message in re.findall(r"`([^`]+)`", row)]
    code = _texts_of_the_code()
    parts = {part.strip(): message for message in messages for part in message.split("…") if len(part.strip()) > 7}
    assert len(parts) > 40
    assert not [message for part, message in parts.items() if part not in code]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code to which the examples have been added, with weights for the policy."""
    copy = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("assets", "__pycache__")
    for name in ("dsrl", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    shutil.copy(ROOT / "train.py", copy)
    added = {path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.*")}
    assert not [name for name in added if (copy / name).exists()], "an example has the name of a part that exists"
    shutil.copytree(EXAMPLES, copy, dirs_exist_ok=True)
    _run(copy, "make_my_flow.py", "my_flow.safetensors", "10")
    return copy


def _run(folder: Path, script: str, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_added_task_policy_noise_algorithm_and_logger_run_on_an_added_cluster(extended: Path) -> None:
    added = ("noise=knots", "sac=cautious_sac", "logging=latest", "cluster=workstation", "cluster.gpus=0")
    _run(extended, "train.py", *CHOSEN, *TINY, *added, "hydra.sweep.dir=first")
    run = extended / "first" / "0"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["base"]["episodes"] == summary["steered"]["episodes"] == 8
    assert summary["policy_sha256"]["before"] == summary["policy_sha256"]["after"] is not None
    assert summary["decisions"] == 160
    assert "learn/critic_loss" in (run / "latest.txt").read_text()


def test_an_own_environment_is_a_task_with_success_and_its_demonstrations_are_cloned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsrl.task.gym import GymTask
    from scripts.pretrain.mlp import read_recordings

    own = shutil.copytree(OWN, tmp_path / "my_point")  # importing leaves files beside the module
    monkeypatch.syspath_prepend(str(own))
    record = runpy.run_path(str(own / "record.py"))["record"]
    record(tmp_path / "demonstrations", 2)
    found = read_recordings(str(tmp_path / "demonstrations"))
    assert found.states.shape[1] == 4
    assert found.actions.shape[1] == 2
    said: list[str] = []
    task = GymTask("MyPoint-v0", 2, None, announce=said.append)
    assert (task.has_success, task.max_steps, said) == (True, 40, [])
    assert task.state_dict() is not None, "a run of it cannot continue in mid-episode"


def test_the_loop_of_an_own_environment_plays_a_policy_to_its_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gymnasium

    class Straight:
        def reset(self) -> None: ...

        def select_action(self, batch: dict[str, Any]) -> Any:
            state = batch["observation.state"]
            return (5 * (state[:, 2:] - state[:, :2])).clamp(-1, 1)

    own = shutil.copytree(OWN, tmp_path / "my_point")
    for folder in (own, ROOT / "plugins" / "lerobot_policy_dsrl"):
        monkeypatch.syspath_prepend(str(folder))
    succeeds = runpy.run_path(str(own / "play.py"))["succeeds"]
    assert all(succeeds(Straight(), gymnasium.make("MyPoint-v0"), seed) for seed in range(3))


ONE_ROBOT = ("plugins=[my_robot]", f"hydra.searchpath=[file://{PACKAGE / 'conf'}]", "task=arm", "noise=repeat")
ONE_ROBOT += ("decisions=24", "warmup_decisions=12", "batch_size=4", "critic_warmup_updates=2", "eval_every=12")
ONE_ROBOT += ("eval_episodes=2", "validation_episodes=1", "confirm_episodes=0", "sac.hidden=8")


def test_the_loop_for_one_robot_plays_what_evaluations_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toys.typed import type_train

    from dsrl.evaluation.episodes import play_worlds

    monkeypatch.syspath_prepend(str(PACKAGE.parent))
    assert type_train(tmp_path / "run", start=ONE_ROBOT) is None
    from my_robot import play, robot

    parts, noise = play.load(str(tmp_path / "run"))
    moves: list[Any] = []

    class Recording(robot.Robot):
        def __init__(self) -> None:
            super().__init__()
            self._random.seed(0)

        def move(self, velocity: Any) -> None:
            moves.append(velocity)
            super().move(velocity)

    parts.task.robot = Recording()
    succeeds = play.play(parts, noise, 7)
    parts.task.robot = Recording()
    evaluation = play_worlds(parts.env, noise, [7])
    assert evaluation.successes == (succeeds,)
    assert moves[:24] == moves[24:]
    assert len(moves) == 48


def test_what_fails_on_one_robot_is_raised_and_the_person_judges_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(PACKAGE.parent))
    from my_robot.robot import EmergencyStopError
    from my_robot.task.arm import Arm

    arm, still = Arm(1, 2), torch.zeros(1, 2)
    arm.reset(torch.arange(1), [0])
    assert arm.robot is not None
    for answer, last in ((True, False), (True, True)):
        monkeypatch.setattr(arm.robot, "ask_person", lambda answer=answer: answer)
        step = arm.step(still)
        assert (bool(step.success), bool(step.terminated), bool(step.truncated)) == (last, last, False)
    monkeypatch.setattr(arm.robot, "read", lambda: [0.0, float("nan"), 0.0, 0.0])
    with pytest.raises(RuntimeError, match=r"a sensor is lost: it reads \[0.0, nan, 0.0, 0.0\]"):
        arm.observe()
    arm.robot.stopped = True
    with pytest.raises(EmergencyStopError):
        arm.step(still)
