"""A whole run of DSRL-NA on a toy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from toys.algorithms import build_algorithm
from toys.runs import toy_parts

from dsrl.logging.csv import CsvLogger
from dsrl.run.console import Screen
from dsrl.run.evaluate import evaluate_run
from dsrl.run.folder import RunFolder
from dsrl.run.request import Request
from dsrl.run.train import steer


def test_dsrl_na_is_trained_diagnosed_and_its_chunk_critics_choose_among_base_noises(tmp_path: Path) -> None:
    parts = toy_parts()
    algorithm = build_algorithm("dsrl_na", parts.env, alpha=0.01, noise_critic_grad_steps=4)
    settings = replace(parts.settings, decisions=240, eval_every=160, video_episodes=0)
    parts = replace(parts, settings=settings, algorithm=algorithm)
    folder = RunFolder(tmp_path)
    steer(parts, folder, [CsvLogger(str(tmp_path))], Screen())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["decisions"] for row in rows if "diagnostics/rank_correlation" in row] == [80, 160, 240]

    options = {
        "eval_episodes": None,
        "test_seed": None,
        "base": False,
        "video_seeds": None,
        "stochastic": False,
        "out": None,
    }
    request = Request(str(tmp_path), "best", **options, best_of=8)
    score = evaluate_run(parts, folder, request, folder.load("best"), Screen())
    one_draw = json.loads(folder.summary.read_text())["base_under_actor_noise"]["success_rate"]
    assert score > one_draw + 0.3
