"""The whole run on a toy: a base policy that fails half of the time, steered, recorded, logged and played again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from toys.requests import newest_evaluation, request_of
from toys.runs import toy_parts

from dsrl.logging.csv import CsvLogger
from dsrl.logging.tensorboard import TensorBoardLogger
from dsrl.logging.wandb import WandbLogger
from dsrl.run.components.parts import Parts
from dsrl.run.evaluate import check_same_policy, evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.terminal.errors import UserError
from dsrl.run.terminal.signals import Signals
from dsrl.run.train import finished_score, make_checkpointer, steer


def test_a_toy_is_steered_to_success_and_everything_is_in_its_folder(tmp_path: Path) -> None:
    offline: dict[str, Any] = {"project": "toy", "entity": None, "group": None, "name": None, "timeout": 5.0}
    where = str(tmp_path)
    wandb = WandbLogger(where, mode="offline", **offline)
    loggers = {"csv": CsvLogger(where), "tensorboard": TensorBoardLogger(where), "wandb": wandb}
    folder = RunFolder(tmp_path)
    score = steer(_with_all(toy_parts()), folder, loggers, Screen())

    summary = json.loads(folder.summary.read_text())
    assert score == summary["best_validation"] == _best_validation(tmp_path)
    assert 0.0 < summary["base"]["success_rate"] < summary["steered"]["success_rate"]
    assert (summary["zero_noise"]["success_rate"], summary["zero_noise"]["episodes"]) == (0.0, 20)  # 0 guesses neither
    assert sum(summary["paired"][outcome] for outcome in ("both", "only_steered", "only_base", "neither")) == 20
    assert summary["policy_sha256"] == {"before": "0" * 64, "after": "0" * 64}
    assert folder.learning_curve.is_file()
    assert list(tmp_path.glob("tensorboard/events*"))
    assert list(tmp_path.glob("wandb/offline-run-*"))
    with av.open(str(folder.video)) as container:
        assert container.streams.video[0].width == 2 * 424

    request = request_of(tmp_path, base=False)
    evaluate_run(toy_parts(), folder, request, folder.load("best"), Screen())
    assert newest_evaluation(tmp_path)["result"] == summary["steered"]
    request = request_of(tmp_path, base=False, checkpoint="none")
    evaluate_run(toy_parts(), folder, request, None, Screen())
    assert newest_evaluation(tmp_path)["result"] == summary["base"]
    again = newest_evaluation(tmp_path)
    assert again["policy_sha256"] == "0" * 64
    assert again["packages"] == summary["packages"]


def _best_validation(run: Path) -> float:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return max(row["eval/success_rate"] for row in rows if "eval/success_rate" in row)


def _with_all(parts: Parts) -> Parts:
    return replace(parts, settings=replace(parts.settings, plot=True, zero_noise=True))


def _finished_score(folder: RunFolder, parts: Parts) -> float | None:
    options: dict[str, Any] = {"keep": 1, "minutes": None, "other": None}
    return finished_score(parts, folder, make_checkpointer(parts, folder, Screen(), Signals(), **options), Screen())


def test_a_finished_run_stays_until_other_values_are_requested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path)
    assert _finished_score(folder, toy_parts()) is None
    score = steer(toy_parts(), folder, {}, Screen())
    assert "finished before" not in capsys.readouterr().out

    assert _finished_score(folder, toy_parts()) == score
    assert "finished before" in capsys.readouterr().out

    summary = json.loads(folder.summary.read_text())
    folder.summary.write_text(json.dumps({**summary, "returned": 7, "7": summary["steered"]}))
    assert _finished_score(folder, toy_parts()) == score

    earlier = {key: value for key, value in summary.items() if key != "best_validation"}  # of an earlier version
    folder.summary.write_text(json.dumps(earlier))
    assert _finished_score(folder, toy_parts()) is None

    parts = toy_parts()
    fewer = replace(parts, settings=replace(parts.settings, eval_episodes=8))
    assert _finished_score(folder, fewer) is None
    steer(fewer, folder, {}, Screen())
    assert json.loads(folder.summary.read_text())["steered"]["episodes"] == 8


def test_a_run_is_not_evaluated_with_other_weights(tmp_path: Path) -> None:
    folder, parts = RunFolder(tmp_path), toy_parts()
    check_same_policy(parts, folder)  # a run that was cut short has no summary
    for digest in ("0" * 64, None):
        folder.summary.write_text(json.dumps({"policy_sha256": {"after": digest}}))
        check_same_policy(parts, folder)
    folder.summary.write_text(json.dumps({"policy_sha256": {"after": "1" * 9999}}))
    with pytest.raises(UserError, match=r"have sha256 0000.* but the run steered 1{64}; restore its checkpoint"):
        check_same_policy(parts, folder)
    for key, words in (  # which runs of earlier versions lack
        ("policy_configuration_sha256", "configuration, processors and statistics"),
        ("policy_backbone_sha256", "backbone's sizes and tokenizer"),
    ):
        summary = {"policy_sha256": {"after": "0" * 64}, "requested": {key: "1" * 64}}
        folder.summary.write_text(json.dumps(summary))
        with pytest.raises(UserError, match=rf"{words} have sha256 .* steered one of 1111"):
            check_same_policy(parts, folder)
