"""Every YAML of `sac` steers a small run from the first decision to an evaluation that reproduces it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from toys.commands import CONF, SHORT_PENDULUM
from toys.requests import request_of

from dsrl.evaluation.report import score_of
from dsrl.run.components.build import build, check_budget
from dsrl.run.evaluate import evaluate_run
from dsrl.run.saved.folder import RunFolder
from dsrl.run.terminal.console import Screen
from dsrl.run.train import steer

AFTERWARDS = ("confirm_episodes=8", "video_episodes=1", "plot=false")
SIZES = {"hidden": 8, "critic_warmup_updates": 2, "candidates": 4}


@pytest.mark.parametrize("choice", sorted(path.stem for path in (CONF / "sac").glob("[!_]*.yaml")))
def test_an_algorithm_runs_from_its_yaml_and_its_checkpoint_plays_again(choice: str, tmp_path: Path) -> None:
    known = OmegaConf.load(CONF / "sac" / f"{choice}.yaml")
    sizes = [f"sac.{name}={value}" for name, value in SIZES.items() if name in known]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHORT_PENDULUM, *AFTERWARDS, f"sac={choice}", *sizes])
    folder = RunFolder(tmp_path)
    folder.write_configs({"config.yaml": OmegaConf.to_yaml(cfg)})
    parts = build(cfg, print)
    check_budget(parts, print)
    steer(parts, folder, {}, Screen())
    score = score_of(json.loads(folder.summary.read_text())["steered"])
    request = request_of(tmp_path, base=False)
    assert evaluate_run(build(cfg, print), folder, request, folder.load("best"), Screen()) == score
