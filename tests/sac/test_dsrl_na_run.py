"""A whole run of DSRL-NA on a toy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from toys.algorithms import build_algorithm
from toys.requests import request_of
from toys.runs import toy_parts

from dsrl.logging.csv import CsvLogger
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer


def test_dsrl_na_is_trained_diagnosed_and_its_chunk_critics_choose_among_base_noises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = toy_parts()
    algorithm = build_algorithm("dsrl_na", parts.env, alpha=0.01, noise_critic_grad_steps=4)
    settings = replace(parts.settings, decisions=240, eval_every=160, video_episodes=0)
    parts = replace(parts, settings=settings, algorithm=algorithm)
    folder = RunFolder(tmp_path)
    steer(parts, folder, {"csv": CsvLogger(str(tmp_path))}, Screen())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["decisions"] for row in rows if "diagnostics/rank_correlation" in row] == [80, 160, 240]

    request = request_of(tmp_path, base=False, best_of=8)
    score = evaluate_run(parts, folder, request, folder.load("best"), Screen())
    one_draw = json.loads(folder.summary.read_text())["base_under_actor_noise"]["success_rate"]
    assert score > one_draw + 0.3
    assert "sac.target_draws=held" not in capsys.readouterr().out
    parts = replace(parts, identity={"sac.target_draws": "held"}, settings=replace(settings, eval_episodes=4))
    evaluate_run(parts, folder, request, folder.load("best"), Screen())
    assert "best_of=8 draws at each decision, but sac.target_draws=held" in capsys.readouterr().out
