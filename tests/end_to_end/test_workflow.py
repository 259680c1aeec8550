"""The whole run on a toy: a base policy that fails half of the time, steered, filmed, logged and played again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from toys.guess import Guess
from toys.runs import toy_parts

from dsrl.evaluation import video
from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.logging.wandb import WandbLogger
from dsrl.run import evaluate as eval_workflow
from dsrl.run import train as workflow
from dsrl.run.build import Request, check_same_policy
from dsrl.run.console import Screen
from dsrl.run.errors import UserError
from dsrl.run.folder import RunFolder


def test_a_toy_is_steered_to_success_and_everything_is_in_its_folder(tmp_path: Path) -> None:
    offline: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    where = str(tmp_path)
    loggers = [CsvLogger(where), TensorBoardLogger(where), WandbLogger(where, mode="offline", **offline)]
    folder = RunFolder(tmp_path)
    score = workflow.train(toy_parts(), folder, loggers, Screen())

    summary = json.loads(folder.summary.read_text())
    assert score == summary["steered"]["success_rate"]
    assert 0.0 < summary["base"]["success_rate"] < score
    assert sum(summary["paired"][outcome] for outcome in ("both", "only_steered", "only_base", "neither")) == 20
    assert summary["policy_sha256"] == {"before": "0" * 64, "after": "0" * 64}
    assert folder.learning_curve.is_file()
    assert list(tmp_path.glob("tensorboard/events*"))
    assert list(tmp_path.glob("wandb/offline-run-*"))
    with av.open(str(folder.video)) as container:
        assert container.streams.video[0].width == 480

    request = Request(run=where, checkpoint="best", episodes=None, seed=None, stochastic=False)
    eval_workflow.evaluate(toy_parts(), folder, request, folder.load("best"), Screen())
    assert json.loads((tmp_path / "eval.json").read_text())["result"] == summary["steered"]
    request = Request(run=where, checkpoint="none", episodes=None, seed=None, stochastic=False)
    eval_workflow.evaluate(toy_parts(), folder, request, None, Screen())
    assert json.loads((tmp_path / "eval.json").read_text())["result"] == summary["base"]
    again = json.loads((tmp_path / "eval.json").read_text())
    assert again["policy_sha256"] == "0" * 64
    assert again["packages"] == summary["packages"]


def test_a_finished_run_stands_until_something_else_is_asked_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, parts = RunFolder(tmp_path), toy_parts()
    score = workflow.train(parts, folder, [], Screen())
    written = folder.summary.stat().st_mtime_ns
    assert "finished before" not in capsys.readouterr().out

    assert workflow.train(parts, folder, [], Screen()) == score
    assert "finished before" in capsys.readouterr().out
    assert folder.summary.stat().st_mtime_ns == written

    fewer = replace(parts, settings=replace(parts.settings, eval_episodes=8))
    workflow.train(fewer, folder, [], Screen())
    assert "finished before" not in capsys.readouterr().out
    assert json.loads(folder.summary.read_text())["steered"]["episodes"] == 8


def test_a_run_is_not_evaluated_with_other_weights(tmp_path: Path) -> None:
    folder, parts = RunFolder(tmp_path), toy_parts()
    check_same_policy(parts, folder)  # a run that was cut short has no summary
    for digest in ("0" * 64, None):
        folder.summary.write_text(json.dumps({"policy_sha256": {"after": digest}}))
        check_same_policy(parts, folder)
    folder.summary.write_text(json.dumps({"policy_sha256": {"after": "1" * 64}}))
    with pytest.raises(UserError, match=r"have sha256 0000.* but the run steered 1111.*; bring its checkpoint back"):
        check_same_policy(parts, folder)


def test_a_film_draws_one_camera_and_only_while_a_filmed_world_goes_on() -> None:
    drawn: list[int] = []

    class Drawing(Guess):
        def picture(self) -> torch.Tensor:
            drawn.append(int(self.elapsed[0]))
            return torch.full((self.num_envs, 3, 8, 8), int(self.elapsed[0]), dtype=torch.uint8)

    film = video.Film(Drawing(2, max_steps=3), num_worlds=1)
    film.reset(torch.arange(2), [0, 9])
    for _ in range(5):
        film.step(torch.ones(2, 1))  # wrong in world 0, which time ends after 3 steps
    assert drawn == [2, 3]  # every second step, and the end
    assert [int(frame[0, 0, 0]) for frame in film.frames[0]] == [2, 3]
    assert film.successes == [False]
